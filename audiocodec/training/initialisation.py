"""Initialising the codebooks on latents of training audio."""

from collections.abc import Callable

import torch
from torch import Tensor

from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.optim import clear_state
from audiocodec.training.pace import Pace
from audiocodec.training.processes import Processes
from audiocodec.training.recipe import Recipe
from audiocodec.training.schedule import is_quantizing
from audiocodec.training.step import TrainingStep

FIRST_BATCH = 2**40
"""Batches numbered from here on serve the initialisation, so that no step trains on them."""

FRAMES_PER_ENTRY = 4
"""Of the largest codebook: the fewest frames that a run with a budget initialises codebooks on."""

MAX_SILENT_BATCHES = 50
"""Batches without an audible frame after which the search for frames ends."""


def initialise_in_time(
    training: TrainingStep,
    batch: Callable[[int], Batch],
    step: int,
    pace: Pace,
    note: Callable[[str], None],
) -> None:
    """:func:`initialise_codebooks`, with as many frames as the pace has time for.

    ``note`` is called with what was changed for lack of time.
    """
    recipe = training.recipe
    wanted = recipe.schedule.initialisation_frames
    least = min(wanted, FRAMES_PER_ENTRY * max(training.codec.codebook_sizes))
    if not pace.initialisation_frames(wanted, least) and is_quantizing(recipe, pace.last):
        note("codebooks not initialised again: the budget has no time for it")
        return
    used = 0
    for _ in range(2):  # the first of a run measures what a frame takes
        frames = max(pace.initialisation_frames(wanted, least), least)
        if frames < 1.5 * used:
            break
        with pace.timing("initialisation", frames):
            initialise_codebooks(training, batch, step, frames)
        used = frames
    if used < wanted:
        note(f"codebooks initialised on {used} frames, not {wanted}: the budget is short")


def initialise_codebooks(
    training: TrainingStep, batch: Callable[[int], Batch], step: int, frames: int | None = None
) -> None:
    """Initialise all codebooks before ``step``, on latents of audible frames of all processes.

    The averaged weights become equal to the current ones, and the optimiser's moments of the
    quantiser become 0.

    Args:
        batch: returns the batch of a number, the same whenever it is called.
        frames: audible frames; by default as many as the recipe says.

    Raises:
        CodecError: too few audible frames, or latents that vary too little.
    """
    recipe, codec, processes = training.recipe, training.codec, training.processes
    wanted = recipe.schedule.initialisation_frames if frames is None else frames
    latents = audible_latents(
        codec, recipe, lambda n: batch(FIRST_BATCH + 1000 * step + n), wanted, processes
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    try:
        if processes.leads:
            with torch.no_grad():
                codec.quantizer.initialise(latents, generator)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise CodecError(
            "schedule.initialisation_steps: the codebooks cannot be initialised on the latents of "
            f"step {step}, which vary too little ({error}); use more varied audio"
        ) from None
    processes.spread(codec.quantizer)
    training.average.reset()
    clear_state(training.optimizer, codec.quantizer)
    training.usage.read()


@torch.no_grad()
def audible_latents(
    codec: Codec,
    recipe: Recipe,
    batch: Callable[[int], Batch],
    wanted: int,
    processes: Processes | None = None,
) -> Tensor:
    """Latents of ``wanted`` or a few more audible frames, ``[N, D]``.

    A frame is audible if its reference is: an offset that the codec removes is not audible.

    Raises:
        CodecError: fewer than two frames are audible.
    """
    processes = processes or Processes()
    schedule, data, hop = recipe.schedule, recipe.data, codec.hop_length
    threshold = 10 ** (data.silence_threshold_db / 20)
    frames_per_batch = data.segment_seconds * codec.frame_rate * schedule.batch_size
    frames: list[Tensor] = []
    found = 0
    for number in range(1000 + round(4 * wanted / frames_per_batch)):
        audio, reference = batch(number)
        latents = processes.gather(codec.latents(audio).transpose(1, 2))
        whole = reference[..., : reference.shape[-1] // hop * hop].unflatten(-1, (-1, hop))
        levels = processes.gather(whole.square().mean(dim=-1).sqrt().squeeze(1))
        audible = levels > threshold
        frames.append(latents[:, : audible.shape[1]][audible].float())
        found += len(frames[-1])
        if found >= wanted or (not found and number >= MAX_SILENT_BATCHES):
            break
    if found < 2:
        raise CodecError(
            "data.silence_threshold_db: no frame of the training audio, after data.gain_db, is "
            f"above {data.silence_threshold_db:g} dB, and the codebooks cannot be initialised; "
            "lower data.silence_threshold_db or raise data.gain_db"
        )
    return torch.cat(frames)
