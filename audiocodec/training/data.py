"""Speech for training: decoded once into an int16 cache, then cut at random without waiting.

A batch is a function of (seed, step) alone, so that a resumed run sees what an unbroken one sees.
"""

import hashlib
import json
import os
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocodec.audio import AudioReader, find_audio
from audiocodec.bundled import CLIPS
from audiocodec.config import Config
from audiocodec.cores import available_cores
from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing
from audiocodec.progress import progress_bar
from audiocodec.training.corpora import librispeech

GPU_RESIDENT_BYTES = 16 * 2**30
"""A corpus up to this size lies in the accelerator's memory whole, so that no step waits for it."""

FILES_IN_HAND = 64
"""Decoded files that wait in memory for their turn to be written."""

BUNDLED_CLIPS = "bundled_clips"
"""As `data.root`: the two clips of speech in the package."""

MOST_UNREADABLE = 0.05
"""Share of the files that may be unreadable. They are skipped, and named."""

SEGMENTS_LISTENED_TO = 20_000
"""Segments, evenly spaced, whose level is measured before a corpus is called silent."""

Decibels = Annotated[float, pydantic.Field(ge=-120, le=60)]


class DataConfig(Config):
    """Where the speech is and how it is cut and varied."""

    root: str | None = pydantic.Field(
        None,
        description="folder of audio files, LibriSpeech's parent folder, or `bundled_clips`: the "
        "two clips in the package; a recipe that names none needs --set data.root=FOLDER",
    )
    librispeech: tuple[str, ...] = pydantic.Field(
        (), description="subsets by name, e.g. train-clean-100; empty: all audio below root"
    )
    download: bool = pydantic.Field(False, description="fetch missing LibriSpeech subsets")
    validation: str | None = pydantic.Field(
        None, description="folder of other speakers' audio; none: 2 % of the files are held out"
    )
    cache: str | None = pydantic.Field(
        None, description="folder for decoded audio; none: the run's"
    )
    segment_seconds: Annotated[float, pydantic.Field(gt=0, le=60)] = 0.64
    silence_threshold_db: Annotated[float, pydantic.Field(ge=-120, le=0)] = pydantic.Field(
        -50.0, description="crops below this RMS level (dB of full scale) are not used"
    )
    gain_db: tuple[Decibels, Decibels] = pydantic.Field((-10.0, 6.0), description="random gain")

    @pydantic.model_validator(mode="after")
    def _gains_in_order(self) -> Self:
        if self.gain_db[0] > self.gain_db[1]:
            raise ValueError("`gain_db` goes from the lower to the higher value")
        return self


class Split(NamedTuple):
    """The files of a run."""

    training: list[Path]
    held_out: list[Path]
    """Files that the model is validated on and never trained on."""

    def describe(self) -> str:
        """One line: how many files there are for each purpose."""
        if set(self.held_out) & set(self.training):
            return (
                f"warning: no file is held out; {len(self.held_out)} of the files to train on "
                "serve as validation too: their scores say nothing about other speech"
            )
        count = len(self.training)
        return f"{count} file{'s' * (count != 1)} to train on, {len(self.held_out)} held out"


def data_root(config: DataConfig) -> Path:
    """The folder that ``data.root`` names.

    Raises:
        CodecError: it names none.
    """
    if config.root is None:
        raise CodecError("data.root: not given; name your recordings: --set data.root=FOLDER")
    if config.root == BUNDLED_CLIPS:
        return CLIPS
    return Path(config.root).expanduser()


def split_files(config: DataConfig, held_out_before: Collection[Path] = ()) -> Split:
    """The files of a recipe.

    Args:
        held_out_before: files that this run has held out so far. They stay held out, and without
            ``data.validation`` no others are, however many files have been added.

    Raises:
        CodecError: nothing to train on, or nothing to validate on.
    """
    root = data_root(config)
    if config.librispeech:
        files = librispeech(root, config.librispeech, config.download)
    else:
        files = find_audio(root)
    if config.validation is not None:
        validation = find_audio(Path(config.validation).expanduser())
    elif held_out_before:
        validation = [file for file in files if file in set(held_out_before)]
        if not validation:
            raise CodecError(
                f"{root}: the files that this run held out are gone; bring them back, or give "
                "others: --set data.validation=FOLDER"
            )
    elif len(files) == 1:
        return Split(files, files)
    else:
        validation = files[:: min(50, len(files))]
    excluded = {os.path.realpath(file) for file in (*validation, *held_out_before)}
    training = [file for file in files if os.path.realpath(file) not in excluded]
    if not training and held_out_before:
        raise CodecError(
            f"{root}: only files that this run holds out are left; bring the others back, or name "
            "another folder: --set data.root=FOLDER"
        )
    # With one file, or one folder for both purposes, files are trained and validated on.
    return Split(training or files, validation)


class AudioCache:
    """Every file of a list, mono at one rate, end to end in one int16 file that is memory-mapped.

    The file's name is a hash of what is in it, so that a changed corpus is decoded anew and an
    unchanged one is not. Files that cannot be read are left out and named in ``skipped``.

    Raises:
        CodecError: more than :data:`MOST_UNREADABLE` of the files cannot be read, or the cache
            cannot be written.
    """

    def __init__(self, files: Sequence[Path], sample_rate: int, folder: Path) -> None:
        self.path = cache_path(files, sample_rate, folder)
        self.skipped: list[str] = []
        if not self.path.is_file():
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as path:
                self.skipped = _decode_all(files, sample_rate, path, self.path)
        self.samples: NDArray[np.int16] = np.zeros(0, np.int16)
        if self.path.stat().st_size:  # nothing cannot be mapped
            self.samples = np.memmap(self.path, dtype=np.int16, mode="r")

    @property
    def num_samples(self) -> int:
        """Samples of all files together."""
        return len(self.samples)


class SegmentSampler:
    """Random crops with random gain and polarity: ``batch(step)`` is float32 ``[B, 1, T]``."""

    def __init__(
        self,
        cache: AudioCache,
        config: DataConfig,
        sample_rate: int,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.length = round(config.segment_seconds * sample_rate)
        if cache.num_samples < self.length:
            raise CodecError(
                f"data.root: {cache.num_samples / sample_rate:.2f} s of audio in all, less than "
                f"one segment of {config.segment_seconds:g} s"
            )
        _check_audible(cache.samples, self.length, config)
        self.config = config
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self._samples = cache.samples
        resident = device.type == "cuda" and cache.samples.nbytes <= GPU_RESIDENT_BYTES
        self._resident = torch.from_numpy(np.array(cache.samples)).to(device) if resident else None

    def batch(self, step: int) -> Tensor:
        """The batch of one step, the same whenever it is asked for."""
        random = np.random.default_rng((self.seed, step))
        starts = self._audible_starts(random)
        low, high = self.config.gain_db
        gains = 10 ** (random.uniform(low, high, self.batch_size) / 20)
        gains *= random.choice([-1.0, 1.0], self.batch_size) / 32768
        scale = torch.from_numpy(gains).float().view(-1, 1, 1).to(self.device, non_blocking=True)
        if self._resident is not None:
            offsets = torch.arange(self.length, device=self.device)
            places = (
                torch.from_numpy(starts).to(self.device, non_blocking=True).unsqueeze(1) + offsets
            )
            crops = self._resident[places]
        else:
            crops = torch.from_numpy(np.stack([self._crop(start) for start in starts]))
            crops = crops.to(self.device, non_blocking=True)
        return (crops.unsqueeze(1).float() * scale).clamp(-1, 1)

    def _audible_starts(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Places of crops above the quiet limit; gives up on the limit after 20 tries each."""
        limit = 32768 * 10 ** (self.config.silence_threshold_db / 20)
        starts = np.empty(self.batch_size, dtype=np.int64)
        for item in range(self.batch_size):
            for _ in range(20):
                starts[item] = random.integers(len(self._samples) - self.length + 1)
                crop = self._crop(starts[item]).astype(np.float32)
                if np.sqrt(np.mean(crop * crop)) > limit:
                    break
        return starts

    def _crop(self, start: int) -> NDArray[np.int16]:
        return self._samples[start : start + self.length]


def check_unreadable(unreadable: Sequence[str], count: int) -> None:
    """Raise :class:`CodecError` if too many of ``count`` files are unreadable; it says why."""
    if len(unreadable) <= MOST_UNREADABLE * count:
        return
    more = f"; so are {len(unreadable) - 1} more of {count} files" if len(unreadable) > 1 else ""
    raise CodecError(f"{unreadable[0]}{more}; remove such files from data.root")


def level_db(samples: NDArray[np.integer] | NDArray[np.floating], full_scale: float) -> float:
    """Root-mean-square of samples in dB of full scale; minus infinity for silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return 10 * float(np.log10(power)) - 20 * float(np.log10(full_scale)) if power else -np.inf


def cache_path(files: Sequence[Path], sample_rate: int, folder: Path) -> Path:
    """Where the decoded audio of ``files`` is, or will be.

    Raises:
        CodecError: a file is gone.
    """
    entries = []
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise CodecError(f"{file}: cannot be read ({error.strerror})") from None
        entries.append((str(file.resolve()), status.st_size, status.st_mtime))
    key = hashlib.sha256(json.dumps([sample_rate, entries]).encode()).hexdigest()[:16]
    return folder / f"{key}.int16"


def _check_audible(samples: NDArray[np.int16], length: int, config: DataConfig) -> None:
    """Raise :class:`CodecError` if no segment is above ``silence_threshold_db``."""
    loudest = -np.inf
    count = min(SEGMENTS_LISTENED_TO, -(-len(samples) // length))
    for start in np.linspace(0, len(samples) - length, count).astype(int):
        loudest = max(loudest, level_db(samples[start : start + length], 32768))
        if loudest > config.silence_threshold_db:
            return
    found = f"the loudest is at {loudest:.0f} dB" if np.isfinite(loudest) else "all are silent"
    raise CodecError(
        "data.silence_threshold_db: no segment of the audio in data.root is above "
        f"{config.silence_threshold_db:g} dB of full scale ({found}); use other recordings, or "
        "lower data.silence_threshold_db"
    )


def _decode_all(
    files: Sequence[Path], sample_rate: int, temporary: Path, target: Path
) -> list[str]:
    """Decode ``files`` in their order; returns what is wrong with those that are left out.

    Decoding does not hold Python's lock, so threads do it.
    """

    def decode(file: Path) -> bytes | str:
        try:
            with AudioReader(file, sample_rate) as reader:
                blocks = [block.mean(axis=0) for block in reader.blocks(30.0)]
        except CodecError as error:
            return str(error)
        except OSError as error:
            return f"{file}: cannot be read ({error.strerror or error})"
        mono = np.concatenate([np.zeros(0, np.float32), *blocks])
        return (mono * 32767).round().clip(-32768, 32767).astype("<i2").tobytes()

    unreadable: list[str] = []
    with (
        writing(target),
        temporary.open("wb") as out,
        ThreadPoolExecutor(available_cores()) as pool,
        progress_bar(len(files), "files", "decoding") as bar,
    ):
        for start in range(0, len(files), FILES_IN_HAND):
            for decoded in pool.map(decode, files[start : start + FILES_IN_HAND]):
                if isinstance(decoded, str):
                    unreadable.append(decoded)
                else:
                    out.write(decoded)
                bar.update()
            check_unreadable(unreadable, len(files))
    for reason in unreadable:
        print(f"skipped: {reason}", file=sys.stderr)
    return unreadable
