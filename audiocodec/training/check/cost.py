"""The time, memory and disk space of a run, from a few steps that are timed."""

import time
from dataclasses import dataclass

import torch

from audiocodec.checkpoint import WEIGHTS_NAME
from audiocodec.errors import CodecError
from audiocodec.training.cudagraph import WARM_UP_CALLS
from audiocodec.training.memory import peak_memory
from audiocodec.training.recipe import Recipe
from audiocodec.training.runfolder import MODEL_NAME, STATE_NAME
from audiocodec.training.schedule import uses_discriminators
from audiocodec.training.trainer import Trainer
from audiocodec.training.validation import CLIP_SECONDS, MAX_CLIPS

MAX_CPU_BATCH = 8
"""Larger batches are not timed on a CPU: their time is in proportion."""

MAX_INITIALISATION_FRAMES = 2000
"""So that the codebooks are initialised quickly."""

SLOW_STEP_SECONDS = 5.0
"""Of steps that take longer only one is timed."""

TIMED_SECONDS = 3.0
"""Time for which steps are timed."""

PICTURE_BYTES = 200_000
LOG_LINE_BYTES = 8000
"""A picture of spectrograms, and the numbers of one logged step."""


@dataclass
class Cost:
    """What a run needs."""

    seconds_per_step: float
    """A mean over all steps."""
    hours: float
    memory_bytes: int | None
    checkpoint_bytes: int
    log_bytes: int


def shortened(recipe: Recipe, device: str) -> Recipe:
    """The recipe in steps, batches that can be timed, and codebooks initialised quickly."""
    schedule = recipe.schedule
    batch_size = schedule.batch_size
    changes = {
        "batch_size": min(batch_size, MAX_CPU_BATCH) if device == "cpu" else batch_size,
        "budget": None,
        "initialisation_frames": min(schedule.initialisation_frames, MAX_INITIALISATION_FRAMES),
    }
    return recipe.model_copy(update={"schedule": schedule.model_copy(update=changes)})


def measure_cost(trainer: Trainer, recipe: Recipe, held_out: int) -> Cost:
    """Time some steps of every part of the schedule, a validation and a checkpoint.

    Args:
        trainer: a new run of the :func:`shortened` recipe.
        recipe: the whole recipe.
        held_out: the number of held-out files.

    Raises:
        CodecError: no step is finite.
    """
    schedule = recipe.schedule
    scale = schedule.batch_size / trainer.recipe.schedule.batch_size
    before = peak_memory(trainer.device)
    starts = schedule_parts(recipe)
    seconds = 0.0
    for first, end in zip(starts, [*starts[1:], schedule.steps], strict=True):
        seconds += (end - first) * scale * _step_seconds(trainer, first)
    after = peak_memory(trainer.device)
    memory = None
    if before is not None and after is not None:
        whole, timed = (
            -(-settings.batch_size // settings.accumulate)  # items of the largest part
            for settings in (schedule, trainer.recipe.schedule)
        )
        memory = round(before + (after - before) * whole / timed)
    if trainer.skipped and trainer.skipped == trainer.step - starts[-1]:
        raise CodecError(
            "optimizer.learning_rate: the loss is not finite from the beginning; lower it"
        )

    validations = schedule.steps // schedule.validate_every + 1
    began = time.perf_counter()
    _, shown, _ = trainer.validation.run(trainer.training_step.average.codec)
    clips = max(1, min(MAX_CLIPS, held_out))
    validating = (time.perf_counter() - began) * clips * validations
    trainer.save()
    state = (trainer.folder / STATE_NAME).stat().st_size
    models = list(trainer.folder.rglob("*.safetensors"))
    kept = schedule.steps // schedule.checkpoint_every if schedule.keep_models else 0
    clip_bytes = round(CLIP_SECONDS * recipe.codec.sample_rate) * 2
    return Cost(
        seconds_per_step=seconds / schedule.steps,
        hours=(seconds + validating) / 3600,
        memory_bytes=memory,
        # A new checkpoint is written before the old one is removed.
        checkpoint_bytes=2 * (state + sum(path.stat().st_size for path in models))
        + kept * (trainer.folder / MODEL_NAME / WEIGHTS_NAME).stat().st_size,
        log_bytes=validations * (len(shown) * clip_bytes + PICTURE_BYTES)
        + schedule.steps // schedule.log_every * LOG_LINE_BYTES,
    )


def schedule_parts(recipe: Recipe) -> list[int]:
    """First steps of the parts of the schedule whose steps differ in cost."""
    schedule, discriminators = recipe.schedule, recipe.discriminators
    steps = {0}
    if recipe.init_from is None:
        steps.add(min(schedule.initialisation_steps))
    if discriminators is not None and uses_discriminators(recipe, discriminators.start_step):
        steps.add(discriminators.start_step)
    if schedule.decoder_only_step is not None:
        steps.add(schedule.decoder_only_step)
    return sorted(step for step in steps if step < schedule.steps)


def _step_seconds(trainer: Trainer, first: int) -> float:
    """Mean seconds of a step from step ``first`` on."""
    trainer.step = first
    trainer.pace.place(first, 1.0)
    seconds = _time_steps(trainer, 1)  # not counted: it may initialise codebooks
    if trainer.device.type == "cuda":  # steps with and without an update of the discriminators
        _time_steps(trainer, 2 * (WARM_UP_CALLS + 1))
        return _time_steps(trainer, 16)
    if seconds > SLOW_STEP_SECONDS:
        return _time_steps(trainer, 1)
    timed = [_time_steps(trainer, 2)]
    while sum(timed) * 2 < TIMED_SECONDS and len(timed) < 5:
        timed.append(_time_steps(trainer, 2))
    return sum(timed) / len(timed)


def _time_steps(trainer: Trainer, steps: int) -> float:
    """Mean seconds of the next ``steps``."""
    began = time.perf_counter()
    for _ in range(steps):
        trainer.train_step()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps
