"""What depends on the step alone: rates, weights, discriminators and codebooks in use."""

import math

import torch
from torch import Tensor

from audiocodec.training.recipe import Recipe

CODEBOOK_DRAWS, DISCRIMINATOR_DRAWS = 1_000_003, 1_000_033
"""Between the seeds of two steps' draws."""


def learning_rates(recipe: Recipe, step: int) -> tuple[float, float]:
    """Of the network (linear warm-up, then a cosine) and of the quantiser (constant)."""
    settings, steps = recipe.optimizer, recipe.schedule.steps
    high, low = settings.learning_rate, settings.final_learning_rate
    if step < settings.warmup_steps:
        network = high * (step + 1) / settings.warmup_steps
    else:
        done = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
        network = low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return network, settings.quantizer_learning_rate


def loss_weights(recipe: Recipe, step: int) -> dict[str, float]:
    """By the losses' names. Adversarial ones rise from the discriminators' start."""
    losses, discriminators = recipe.losses, recipe.discriminators
    ramp = 0.0
    if discriminators is not None and step >= discriminators.start_step:
        ramp = min(1.0, (step - discriminators.start_step + 1) / discriminators.ramp_steps)
    return {
        "quantizer": losses.quantizer,
        "mel": losses.mel,
        "stft": losses.stft,
        "loudness": losses.loudness,
        "level": losses.level,
        "tonal": losses.tonal,
        "waveform": losses.waveform,
        "adversarial": losses.adversarial * ramp,
        "feature_matching": losses.feature_matching * ramp,
    }


def codebooks_in_use(recipe: Recipe, step: int, batch_size: int) -> Tensor | None:
    """Codebook dropout: int64 ``[B]``, or ``None`` where a recipe always uses all codebooks."""
    choices = torch.tensor(recipe.schedule.codebooks)
    if not len(choices):
        return None
    generator = torch.Generator().manual_seed(recipe.seed + CODEBOOK_DRAWS * step)
    return choices[torch.randint(len(choices), (batch_size,), generator=generator)]


def discriminators_in_use(recipe: Recipe, step: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """The ``discriminators.per_step`` of all discriminators' ``names`` that a step uses."""
    count = recipe.discriminators.per_step if recipe.discriminators else None
    generator = torch.Generator().manual_seed(recipe.seed + DISCRIMINATOR_DRAWS * step)
    order = torch.randperm(len(names), generator=generator).tolist()
    return names if count is None else tuple(names[i] for i in order[:count])


def is_quantizing(recipe: Recipe, step: int) -> bool:
    """Whether the codebooks are in place at this step; before, latents pass as they are.

    Those of ``init_from`` are in place from the beginning.
    """
    starts = recipe.schedule.initialisation_steps
    return recipe.init_from is not None or step >= min(starts)


def is_decoder_only(recipe: Recipe, step: int) -> bool:
    """Whether encoder and codebooks stand still at this step."""
    finish = recipe.schedule.decoder_only_step
    return finish is not None and step >= finish
