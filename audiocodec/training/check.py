"""What a run will take, found out before it begins: its audio is looked at, a few steps are timed.

`codec train --check` prints what is found here. What passes can start.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiocodec.audio import AudioReader, audio_info, save_audio
from audiocodec.cores import available_cores
from audiocodec.errors import CodecError
from audiocodec.training.corpora import LIBRISPEECH_SUBSETS
from audiocodec.training.cudagraph import WARM_UP_CALLS
from audiocodec.training.data import (
    BUNDLED_CLIPS,
    DataConfig,
    Split,
    cache_path,
    check_unreadable,
    data_root,
    level_db,
    split_files,
)
from audiocodec.training.recipe import Recipe
from audiocodec.training.trainer import Trainer, memory_errors
from audiocodec.training.validation import CLIP_SECONDS, CLIPS

MOST_HEADERS = 20_000
MOST_DECODED = 100
DECODING_SECONDS = 10.0
"""Headers that are read and files that are decoded, evenly spaced, and the time that this takes."""

DECODED_OF_A_FILE = 30.0
SAMPLE_SECONDS = 60.0
"""Audio that the steps are timed on."""

CPU_BATCH = 8
"""Larger batches are not timed on a CPU: their time is in proportion."""

START_FRAMES = 2000
SLOW_STEP = 5.0
TIMED_SECONDS = 3.0


@dataclass
class Audio:
    """What the training files are like."""

    split: Split
    hours: float = 0.0
    listened: int = 0
    near_silent: int = 0
    unreadable: list[str] = field(default_factory=list)
    speakers: int | None = None
    sample: list[Tensor] = field(default_factory=list)
    """``[T]`` each, at the codec's rate."""


@dataclass
class Cost:
    """What the run takes."""

    seconds_per_step: float
    """A mean over all steps."""
    hours: float
    memory_bytes: int | None
    checkpoint_bytes: int
    log_bytes: int


def check(recipe: Recipe, folder: Path, device: str) -> dict[str, Any]:
    """What ``recipe`` makes and takes when it is run in ``folder``.

    ``problem`` is the disk or the memory that is too small for it, or ``None``.

    Raises:
        CodecError: the run could not start.
    """
    missing = subsets_to_download(recipe.data)
    if missing:
        clips = split_files(DataConfig(root=BUNDLED_CLIPS))
        audio = look_at(Split([*clips.training, *clips.held_out], []), recipe)
    else:
        audio = look_at(split_files(recipe.data), recipe)
    with tempfile.TemporaryDirectory() as place, memory_errors():
        sample = Path(place) / "sample.wav"
        joined = torch.cat([torch.zeros(0), *audio.sample]).unsqueeze(0)
        save_audio(sample, joined, recipe.codec.sample_rate)
        split = Split([sample], [sample])
        trainer = Trainer(small(recipe, device), Path(place) / "run", device, split=split)
        cost = measure(trainer, recipe, len(audio.split.held_out))
        codec = trainer.codec
    gigabytes = sum(LIBRISPEECH_SUBSETS[subset] for subset in missing)
    hours = 16.0 * gigabytes if missing else audio.hours
    cache_folder = Path(recipe.data.cache or folder / "cache").expanduser()
    cached = not missing and cache_path(
        audio.split.training, recipe.codec.sample_rate, cache_folder
    )
    disk = {
        "download": round(2e9 * gigabytes),
        "cache": round(hours * 3600 * recipe.codec.sample_rate * 2),
        "checkpoints": cost.checkpoint_bytes,
        "logs": cost.log_bytes,
    }
    needed = sum(disk.values()) - (disk["cache"] if cached and cached.is_file() else 0)
    shortages = [
        missing_memory(cost.memory_bytes, device),
        missing_room(needed, disk, folder, cache_folder, data_root(recipe.data)),
    ]
    return {
        "name": recipe.name,
        "parameters": sum(p.numel() for p in codec.parameters()),
        "frame_rate": codec.frame_rate,
        "bitrates": [codec.bitrate(n + 1) for n in range(codec.num_codebooks)],
        "files": 0 if missing else len(audio.split.training),
        "held_out": len(audio.split.held_out),
        "hours_of_audio": hours,
        "speakers": None if missing else audio.speakers,
        "to_download": missing,
        "unreadable": audio.unreadable,
        "near_silent": audio.near_silent,
        "listened": audio.listened,
        "silence_threshold_db": recipe.data.silence_threshold_db,
        "device": device,
        "steps": recipe.schedule.steps,
        "audio_seconds_per_step": recipe.schedule.batch_size * recipe.data.segment_seconds,
        "seconds_per_step": cost.seconds_per_step,
        "hours": cost.hours,
        "memory_bytes": cost.memory_bytes,
        "disk_bytes": disk,
        "folder": str(folder),
        "problem": next(filter(None, shortages), None),
    }


def subsets_to_download(config: DataConfig) -> list[str]:
    """LibriSpeech's subsets that the run would fetch: a check downloads nothing."""
    if not config.download:
        return []
    root = data_root(config)
    parent = root.parent if root.name == "LibriSpeech" else root
    folders = {name: parent / "LibriSpeech" / name for name in config.librispeech}
    return [
        name
        for name, folder in folders.items()
        if name in LIBRISPEECH_SUBSETS and not folder.is_dir()
    ]


def look_at(split: Split, recipe: Recipe) -> Audio:
    """Read the headers of the training files and decode some of them.

    Raises:
        CodecError: too many of them cannot be read.
    """
    found = Audio(split)
    if recipe.data.librispeech:
        found.speakers = len({file.name.split("-")[0] for file in split.training})
    asked = spread(split.training, MOST_HEADERS)
    with ThreadPoolExecutor(available_cores()) as pool:
        lengths = dict(zip(asked, pool.map(_seconds, asked), strict=True))
    found.unreadable = [reason for reason in lengths.values() if isinstance(reason, str)]
    check_unreadable(found.unreadable, len(asked))
    readable = {file: s for file, s in lengths.items() if not isinstance(s, str)}
    found.hours = sum(readable.values()) / 3600 * len(split.training) / len(asked)

    began, sampled = time.monotonic(), 0.0
    rate, segment = recipe.codec.sample_rate, recipe.data.segment_seconds
    for file in spread(list(readable), MOST_DECODED):
        if time.monotonic() - began > DECODING_SECONDS and sampled > segment:
            break
        try:
            pieces = _decoded(file, rate, segment)
        except CodecError as error:
            found.unreadable.append(str(error))
            continue
        found.listened += 1
        audible = any(
            level_db(piece.numpy(), 1.0) > recipe.data.silence_threshold_db for piece in pieces
        )
        found.near_silent += not audible
        if audible and sampled < SAMPLE_SECONDS + segment:
            found.sample += pieces
            sampled += sum(len(piece) for piece in pieces) / rate
    failed = len(found.unreadable) - (len(asked) - len(readable))
    check_unreadable(found.unreadable[-failed:] if failed else [], failed + found.listened)
    if found.listened and found.near_silent == found.listened:
        raise CodecError(
            f"data.silence_threshold_db: none of the {found.listened} files listened to is "
            f"anywhere above {recipe.data.silence_threshold_db:g} dB of full scale; use other "
            "recordings, or lower data.silence_threshold_db"
        )
    return found


def spread(files: Sequence[Path], most: int) -> list[Path]:
    """At most ``most`` of the files, evenly spaced."""
    if len(files) <= most:
        return list(files)
    return [files[round(i * (len(files) - 1) / (most - 1))] for i in range(most)]


def _seconds(file: Path) -> float | str:
    """A file's length by its header, or what is wrong with it."""
    try:
        return audio_info(file).seconds
    except CodecError as error:
        return str(error)


def _decoded(file: Path, sample_rate: int, segment_seconds: float) -> list[Tensor]:
    """The beginning of a file in segments, mono."""
    pieces: list[Tensor] = []
    with AudioReader(file, sample_rate) as reader:
        for block in reader.blocks(segment_seconds):
            pieces.append(torch.from_numpy(block).mean(dim=0))
            if len(pieces) * segment_seconds >= DECODED_OF_A_FILE:
                break
    return pieces


def small(recipe: Recipe, device: str) -> Recipe:
    """The recipe with batches that can be timed, and codebooks that are initialised quickly."""
    schedule = recipe.schedule
    most = CPU_BATCH if device == "cpu" else schedule.batch_size
    changes = {
        "batch_size": min(schedule.batch_size, most),
        "initialisation_frames": min(schedule.initialisation_frames, START_FRAMES),
    }
    return recipe.model_copy(update={"schedule": schedule.model_copy(update=changes)})


def measure(trainer: Trainer, recipe: Recipe, held_out: int) -> Cost:
    """Time some steps of every part of the schedule, a validation and a checkpoint."""
    schedule = recipe.schedule
    scale = schedule.batch_size / trainer.recipe.schedule.batch_size
    before = peak_memory(trainer.device)
    starts = parts(recipe)
    seconds = 0.0
    for first, end in zip(starts, [*starts[1:], schedule.steps], strict=True):
        seconds += (end - first) * scale * time_steps(trainer, first)
    after = peak_memory(trainer.device)
    memory = None
    if before is not None and after is not None:
        memory = round(before + (after - before) * scale)
    if trainer.skipped and trainer.skipped == trainer.step - starts[-1]:
        raise CodecError(
            "optimizer.learning_rate: the loss is not finite from the beginning; lower it"
        )

    validations = schedule.steps // schedule.validate_every + 1
    began = time.perf_counter()
    _, shown = trainer.validation.run(trainer.ema)
    clips = max(1, min(CLIPS, held_out))
    validating = (time.perf_counter() - began) * clips * validations
    trainer.save()
    state = (trainer.folder / "state.pt").stat().st_size
    models = list(trainer.folder.rglob("*.safetensors"))
    picture = 200_000
    clip = round(CLIP_SECONDS * recipe.codec.sample_rate) * 2
    return Cost(
        seconds_per_step=seconds / schedule.steps,
        hours=(seconds + validating) / 3600,
        memory_bytes=memory,
        # A new one is written beside the old one.
        checkpoint_bytes=2 * (state + sum(p.stat().st_size for p in models)),
        log_bytes=validations * (len(shown) * clip + picture)
        + schedule.steps // schedule.log_every * 8000,
    )


def parts(recipe: Recipe) -> list[int]:
    """First steps of the parts of the schedule whose steps differ in cost."""
    schedule, discriminators = recipe.schedule, recipe.discriminators
    steps = {0}
    if recipe.init_from is None:
        steps.add(min(schedule.initialisation_steps))
    if discriminators is not None and recipe.losses.adversarial > 0:
        steps.add(discriminators.start_step)
    if schedule.decoder_only_step is not None:
        steps.add(schedule.decoder_only_step)
    return sorted(step for step in steps if step < schedule.steps)


def time_steps(trainer: Trainer, first: int) -> float:
    """Seconds that a step takes from step ``first`` on."""
    trainer.step = first
    took = _time(trainer, 1)  # not counted: it may initialise codebooks
    if trainer.device.type == "cuda":  # steps with and without learning discriminators
        _time(trainer, 2 * (WARM_UP_CALLS + 1))
        return _time(trainer, 16)
    if took > SLOW_STEP:
        return _time(trainer, 1)
    timed = [_time(trainer, 2)]
    while sum(timed) * 2 < TIMED_SECONDS and len(timed) < 5:
        timed.append(_time(trainer, 2))
    return sum(timed) / len(timed)


def _time(trainer: Trainer, steps: int) -> float:
    """Mean seconds of the next ``steps``."""
    began = time.perf_counter()
    for _ in range(steps):
        trainer.train_step()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that this process has used so far, on a GPU or in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def missing_memory(needed: int | None, device: str) -> str:
    """What to say if the machine has less memory than is needed."""
    known = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})
    if needed is None or device != "cpu" or not known:
        return ""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed <= memory:
        return ""
    return (
        f"schedule.batch_size: a step needs about {needed / 1e9:.0f} GB of memory, this machine "
        f"has {memory / 1e9:.0f} GB; lower it, or data.segment_seconds"
    )


def missing_room(
    needed: int, disk: dict[str, int], folder: Path, cache_folder: Path, root: Path
) -> str:
    """What to say if a disk that the run writes to has too little room."""
    cache_elsewhere = not cache_folder.is_relative_to(folder)
    needed -= disk["download"] + (disk["cache"] if cache_elsewhere else 0)
    places = [(folder, needed, "a folder on another disk with --out or data.cache")]
    places.append((root, disk["download"], "a folder on another disk with data.root"))
    if cache_elsewhere:
        places.append((cache_folder, disk["cache"], "a folder on another disk with data.cache"))
    for place, size, remedy in places:
        there = next(p for p in (place, *place.absolute().parents) if p.exists())
        free = shutil.disk_usage(there).free
        if size > free:
            return (
                f"{place}: about {size / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; "
                f"make room, or name {remedy}"
            )
    return ""
