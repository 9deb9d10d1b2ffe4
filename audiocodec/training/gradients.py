"""The gradients of a batch: discriminators, losses, codec. The algorithm of a training step.

``parts.py`` has the same for a batch that does not fit into memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from audiocodec.quantization.residual import Quantized
from audiocodec.training.adversary import loss_of_discriminators, share_pass, step_discriminators
from audiocodec.training.idle import idle_discriminators, idle_parts
from audiocodec.training.losses.inputs import LossInputs
from audiocodec.training.schedule import StepVariant

if TYPE_CHECKING:
    from audiocodec.training.step import TrainingStep


class Computed(NamedTuple):
    """What a batch came to, beside the gradient of the codec."""

    loss: Tensor
    """The weighted sum of the losses, a scalar, of this process's share."""
    losses: dict[str, Tensor]
    """Each loss, a scalar."""
    quantized: Quantized | None
    """Of the whole share; absent before the codebooks are initialised."""


def compute_gradients(
    training: TrainingStep,
    variant: StepVariant,
    audio: Tensor,
    reference: Tensor,
    in_use: Tensor,
    weights: Tensor,
) -> Computed:
    """Update the discriminators if ``variant`` says so, and compute the codec's gradient.

    Arguments are those of :meth:`TrainingStep.update`.
    """
    networks, discriminators = training.networks, training.discriminators
    inputs = networks.reconstruct(variant, audio, reference, in_use)
    is_shared = shares_pass(training, variant)
    if is_shared:
        assert discriminators is not None
        share_pass(discriminators, inputs)
    elif variant.updates_discriminators:
        _update_discriminators(training, variant, inputs)
    losses = networks.losses(variant.losses, inputs)
    total = (weights * torch.stack(list(losses.values()))).sum()

    idle = idle_parts(training.codec, variant, inputs.quantized)
    backward, codec = training.processes.backward, training.codec
    if is_shared:
        trained = [parameter for parameter in training.trained if parameter.requires_grad]
        backward(total, codec, idle, trained, retain_graph=True)
        _update_discriminators(training, variant, inputs, is_shared=True)
    else:
        backward(total, codec, idle)
    return Computed(total.detach(), losses, inputs.quantized)


def shares_pass(training: TrainingStep, variant: StepVariant) -> bool:
    """Whether one pass of the discriminators serves the codec's losses and their own update."""
    settings = training.recipe.discriminators
    return settings is not None and settings.shared_pass and variant.updates_discriminators


def _update_discriminators(
    training: TrainingStep, variant: StepVariant, inputs: LossInputs, is_shared: bool = False
) -> None:
    """One update of the discriminators in use, on the reference and the reconstruction."""
    discriminators, optimizer = training.discriminators, training.discriminator_optimizer
    assert discriminators is not None
    discriminators.requires_grad_(True)
    loss = loss_of_discriminators(inputs, is_shared)
    optimizer.zero_grad(set_to_none=True)
    idle = idle_discriminators(discriminators, variant)
    learning: list[Tensor] | None = [*discriminators.parameters()] if is_shared else None
    training.processes.backward(loss, discriminators, idle, learning)
    training.count_discriminators(loss, step_discriminators(discriminators, optimizer))
