"""A batch that does not fit into memory: half as many segments from then on."""

import time
from collections.abc import Callable
from functools import partial

import torch

from audiocodec.errors import CodecError
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.data.segments import SegmentSampler
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


def train_on_batch(
    training: TrainingStep,
    step: Callable[[Batch], object],
    sampler: SegmentSampler,
    number: int,
    at: int,
    note: Callable[[str], object],
) -> float:
    """Call ``step`` with batch ``number`` of step ``at`` of the run, with fewer segments as long as
    memory is exhausted.

    ``note`` is called with a line for each time that the batch was halved.

    Returns:
        Seconds that drawing the batch took.

    Raises:
        SegmentTooLongError: memory is exhausted by one segment.
    """
    while True:
        began = time.perf_counter()
        batch = sampler.batch(number, at)
        seconds = time.perf_counter() - began
        if training.processes.size > 1:  # the others would not know of smaller batches
            step(batch)
            return seconds
        reason = memory_shortage_in(partial(step, batch))
        if not reason:
            return seconds
        del batch
        release_memory(training)
        size = sampler.batch_size
        if size == 1:
            raise SegmentTooLongError(training.recipe, reason)
        sampler.batch_size = size // 2
        note(f"memory is exhausted: batches of {size // 2} instead of {size} from now on")


def release_memory(training: TrainingStep) -> None:
    """Forget gradients, recorded steps and cached memory."""
    training.optimizer.zero_grad(set_to_none=True)
    if training.discriminators is not None:
        training.discriminator_optimizer.zero_grad(set_to_none=True)
        training.discriminators.requires_grad_(False)
    training.graphs.clear()
    if training.device.type == "cuda":
        torch.cuda.empty_cache()
