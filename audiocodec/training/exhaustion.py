"""A batch that does not fit into memory: it is computed in parts from then on (``parts.py``)."""

import time
from collections.abc import Callable
from functools import partial

import torch

from audiocodec.errors import CodecError
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.memory import memory_shortage_in
from audiocodec.training.recipe import Recipe
from audiocodec.training.step import TrainingStep


class SegmentTooLongError(CodecError):
    """Memory is exhausted by one segment. ``remedy`` is a setting that helps."""

    def __init__(self, recipe: Recipe, reason: str) -> None:
        super().__init__(
            f"data.segment_seconds: memory is exhausted by one segment ({reason}); shorten them"
        )
        self.remedy = f"data.segment_seconds={recipe.data.segment_seconds / 2:g}"

    def continued_with(self, resume_command: str) -> CodecError:
        """The error of a run that can be continued with a shorter segment."""
        return CodecError(f"{self}, in this run with {resume_command} --set {self.remedy}")


def train_on_batch(
    training: TrainingStep,
    step: Callable[[Batch], object],
    batch: Callable[[int], Batch],
    number: int,
    note: Callable[[str], object],
) -> float:
    """Call ``step`` with batch ``number``, in twice as many parts as long as memory is exhausted.

    ``note`` is called with a line for each time.

    Returns:
        Seconds that drawing the batch took.

    Raises:
        SegmentTooLongError: memory is exhausted by one segment.
    """
    while True:
        began = time.perf_counter()
        drawn = batch(number)
        seconds = time.perf_counter() - began
        if training.processes.size > 1:  # the others would wait for this one's first attempt
            step(drawn)
            return seconds
        reason = memory_shortage_in(partial(step, drawn))
        if not reason:
            return seconds
        if training.parts >= len(drawn.audio):
            raise SegmentTooLongError(training.recipe, reason)
        training.parts = min(2 * training.parts, len(drawn.audio))
        del drawn
        release_memory(training)
        note(
            f"memory is exhausted: batches are computed in {training.parts} parts from now on "
            f"(schedule.accumulate={training.parts})"
        )


def release_memory(training: TrainingStep) -> None:
    """Forget gradients, recorded steps and cached memory."""
    training.optimizer.zero_grad(set_to_none=True)
    if training.discriminators is not None:
        training.discriminator_optimizer.zero_grad(set_to_none=True)
        training.discriminators.requires_grad_(False)
    training.graphs.clear()
    if training.device.type == "cuda":
        torch.cuda.empty_cache()
