"""One update of the discriminators, in a pass of its own or in that of the codec's losses.

Apart: the discriminators learn from reference and reconstruction, and the codec from what they are
then; the features of the reference are computed twice. Shared (``discriminators.shared_pass``): one
pass over both, with one set of weights, serves the codec's losses and then the update. A step
with an update takes two passes less, and the codec learns from discriminators that are one update
older (simultaneous instead of alternating gradient descent).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from audiocodec.training.discriminators import both_maps
from audiocodec.training.losses.adversarial import discriminator_loss
from audiocodec.training.losses.inputs import LossInputs
from audiocodec.training.optim import step_if

MAX_NORM = 10.0
"""Of the gradient of all discriminators."""


def share_pass(discriminators: nn.Module, inputs: LossInputs) -> None:
    """Compute the feature maps for the codec's losses and for :func:`update_discriminators`.

    The gradient of the codec's losses must then be asked for by its parameters, and its graph be
    kept: it leads to the discriminators' parameters too.
    """
    assert inputs.discriminate is not None
    discriminators.requires_grad_(True)
    maps = inputs.discriminate(torch.cat([inputs.reference, inputs.reconstruction]))
    inputs.real_maps, inputs.fake_maps = both_maps(maps)


def update_discriminators(
    discriminators: nn.Module,
    optimizer: torch.optim.AdamW,
    inputs: LossInputs,
    is_shared: bool,
    backward: Callable[..., None] = torch.autograd.backward,
) -> tuple[Tensor, Tensor]:
    """One step of the discriminators in use, after :func:`share_pass` if ``is_shared``.

    ``backward`` computes the gradient of a loss with regard to ``inputs``.

    Returns the loss, and whether the gradient was finite, so that the step was taken.
    """
    assert inputs.discriminate is not None
    discriminators.requires_grad_(True)
    if is_shared:
        loss = discriminator_loss(inputs.real_maps, inputs.fake_maps)
    else:
        real = inputs.discriminate(inputs.reference)
        loss = discriminator_loss(real, inputs.discriminate(inputs.reconstruction.detach()))
    optimizer.zero_grad(set_to_none=True)
    backward(loss, inputs=list(discriminators.parameters()) if is_shared else None)
    norm = torch.nn.utils.clip_grad_norm_(discriminators.parameters(), MAX_NORM)
    finite = norm.isfinite()
    step_if(optimizer, finite)
    discriminators.requires_grad_(False)  # the codec's losses update the codec alone
    return loss, finite
