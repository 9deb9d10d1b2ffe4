"""One update of the discriminators, in a pass of its own or in that of the codec's losses.

Apart: the discriminators learn from reference and reconstruction, and the codec from what they are
then; the features of the reference are computed twice. Shared (``discriminators.shared_pass``): one
pass over both, with one set of weights, serves the codec's losses and then the update. A step
with an update takes two passes less, and the codec learns from discriminators that are one update
older (simultaneous instead of alternating gradient descent).
"""

import torch
from torch import Tensor, nn

from audiocodec.training.discriminators import both_maps
from audiocodec.training.losses.adversarial import discriminator_loss
from audiocodec.training.losses.inputs import LossInputs
from audiocodec.training.optim import step_if

MAX_NORM = 10.0
"""Of the gradient of all discriminators."""


def share_pass(discriminators: nn.Module, inputs: LossInputs) -> None:
    """Compute the feature maps for the codec's losses and for those of the discriminators.

    The gradient of the codec's losses must then be asked for by its parameters, and its graph be
    kept: it leads to the discriminators' parameters too.
    """
    assert inputs.discriminate is not None
    discriminators.requires_grad_(True)
    maps = inputs.discriminate(torch.cat([inputs.reference, inputs.reconstruction]))
    inputs.real_maps, inputs.fake_maps = both_maps(maps)


def loss_of_discriminators(inputs: LossInputs, is_shared: bool) -> Tensor:
    """What the discriminators in use are to minimise; after :func:`share_pass` if ``is_shared``."""
    if is_shared:
        return discriminator_loss(inputs.real_maps, inputs.fake_maps)
    assert inputs.discriminate is not None
    real = inputs.discriminate(inputs.reference)
    return discriminator_loss(real, inputs.discriminate(inputs.reconstruction.detach()))


def step_discriminators(discriminators: nn.Module, optimizer: torch.optim.AdamW) -> Tensor:
    """One step along the gradient. Returns whether it was finite, so that the step was taken."""
    norm = torch.nn.utils.clip_grad_norm_(discriminators.parameters(), MAX_NORM)
    finite = norm.isfinite()
    step_if(optimizer, finite)
    discriminators.requires_grad_(False)  # the codec's losses update the codec alone
    return finite
