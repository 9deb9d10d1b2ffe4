"""What depends on the recipe and the step alone: rates, losses, discriminators and codebooks.

A ``position`` is a place in the recipe's schedule, in its steps. It is the number of the step, or
follows the clock if the run has a budget (``pace.py``).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from audiocodec.training.draws import drawn_set
from audiocodec.training.losses.registry import LOSSES
from audiocodec.training.recipe import Recipe

CODEBOOK_SEED_STRIDE = 1_000_003
"""Difference between the seeds of two consecutive steps' random choices."""


class StepVariant(NamedTuple):
    """What a step computes. Steps of one variant differ in numbers only."""

    quantizing: bool
    decoder_only: bool
    losses: tuple[str, ...]
    """Names of the losses that are computed."""
    discriminators: tuple[str, ...]
    """Names of the discriminators that are used."""
    updates_discriminators: bool
    windows: tuple[int, ...]
    """Places of the windows of the spectral losses in ``losses.window_lengths``."""


def step_variant(
    recipe: Recipe, step: int, position: float, discriminators: tuple[str, ...]
) -> StepVariant:
    """The variant of one step, given the names of all discriminators."""
    settings = recipe.discriminators
    losses = tuple(loss_weights(recipe, position))
    adversarial = uses_discriminators(recipe, position)
    return StepVariant(
        quantizing=is_quantizing(recipe, position),
        decoder_only=is_decoder_only(recipe, position),
        losses=losses,
        discriminators=(discriminators_in_use(recipe, step, discriminators) if adversarial else ()),
        updates_discriminators=(
            settings is not None and adversarial and step % settings.update_every == 0
        ),
        windows=windows_in_use(recipe, step),
    )


def learning_rates(recipe: Recipe, position: float) -> tuple[float, float]:
    """Of the network (linear warm-up, then a cosine) and of the quantiser (constant)."""
    settings, steps = recipe.optimizer, recipe.schedule.steps
    high, low = settings.learning_rate, settings.final_learning_rate
    if position < settings.warmup_steps:
        network = min(high, high * (position + 1) / settings.warmup_steps)
    else:
        done = (position - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
        network = low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return network, settings.quantizer_learning_rate


def loss_weights(recipe: Recipe, position: float) -> dict[str, float]:
    """The weights of the losses that a step computes, by name, in the registry's order."""
    ramp, quantizing = adversarial_ramp(recipe, position), is_quantizing(recipe, position)
    weights: dict[str, float] = {}
    for name, loss in LOSSES.items():
        weight = recipe.losses.weight(name)
        if weight == 0 and not loss.if_zero:
            continue
        if loss.requires is not None and loss.requires not in weights:
            continue
        if loss.needs_quantizer and not quantizing:
            continue
        if loss.needs_discriminators:
            if ramp == 0:
                continue
            weight *= ramp
        weights[name] = weight
    return weights


def uses_discriminators(recipe: Recipe, position: float) -> bool:
    """Whether a loss of a step needs the discriminators."""
    return any(LOSSES[name].needs_discriminators for name in loss_weights(recipe, position))


def adversarial_ramp(recipe: Recipe, position: float) -> float:
    """0 before the discriminators' first step; then it rises to 1 over ``ramp_steps``."""
    settings = recipe.discriminators
    if settings is None or position < settings.start_step:
        return 0.0
    return min(1.0, (position - settings.start_step + 1) / settings.ramp_steps)


def codebooks_in_use(recipe: Recipe, step: int, batch_size: int) -> Tensor | None:
    """Codebook dropout: int64 ``[B]``, or ``None`` where a recipe always uses all codebooks."""
    choices = torch.tensor(recipe.schedule.codebooks)
    if not len(choices):
        return None
    generator = torch.Generator().manual_seed(recipe.seed + CODEBOOK_SEED_STRIDE * step)
    return choices[torch.randint(len(choices), (batch_size,), generator=generator)]


def discriminators_in_use(recipe: Recipe, step: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """The ``discriminators.per_step`` of all discriminators' ``names`` that a step uses."""
    count = recipe.discriminators.per_step if recipe.discriminators else None
    if count is None or count >= len(names):
        return names
    return tuple(names[i] for i in drawn_set(len(names), count, recipe.seed, step))


def windows_in_use(recipe: Recipe, step: int) -> tuple[int, ...]:
    """The ``losses.windows_per_step`` of the windows of the spectral losses that a step uses."""
    count, every = recipe.losses.windows_per_step, len(recipe.losses.window_lengths)
    if count is None or count >= every:
        return tuple(range(every))
    return drawn_set(every, count, recipe.seed + 1, step)


def is_quantizing(recipe: Recipe, position: float) -> bool:
    """Whether the codebooks are initialised at this position; before, latents are not quantised.

    The codebooks of ``init_from`` are initialised from the first step on.
    """
    return recipe.init_from is not None or position >= min(recipe.schedule.initialisation_steps)


def is_decoder_only(recipe: Recipe, position: float) -> bool:
    """Whether encoder and codebooks are frozen at this position."""
    first = recipe.schedule.decoder_only_step
    return first is not None and position >= first
