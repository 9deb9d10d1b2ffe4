"""Speech for training: decoded once into an int16 cache, then cut at random without waiting.

A batch is a function of (seed, step) alone, so that a resumed run sees what an unbroken one sees.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from audiocodec.audio import AudioReader, find_audio
from audiocodec.config import Config
from audiocodec.errors import CodecError
from audiocodec.paths import replacing
from audiocodec.training.corpora import librispeech

GPU_RESIDENT_BYTES = 16 * 2**30
"""A corpus up to this size lies in the accelerator's memory whole, so that no step waits for it."""

FILES_IN_HAND = 64
"""Decoded files that wait in memory for their turn to be written."""


class DataConfig(Config):
    """Where the speech is and how it is cut and varied."""

    root: str = pydantic.Field(description="folder of audio files, or LibriSpeech's parent folder")
    librispeech: tuple[str, ...] = pydantic.Field(
        (), description="subsets by name, e.g. train-clean-100; empty: all audio below root"
    )
    download: bool = pydantic.Field(False, description="fetch missing LibriSpeech subsets")
    validation: str | None = pydantic.Field(
        None, description="folder of other speakers' audio; none: 2 % of the files are set aside"
    )
    cache: str | None = pydantic.Field(
        None, description="folder for decoded audio; none: the run's"
    )
    segment_seconds: Annotated[float, pydantic.Field(gt=0, le=60)] = 0.64
    quietest_db: Annotated[float, pydantic.Field(le=0)] = pydantic.Field(
        -50.0, description="crops below this RMS level (dB of full scale) are not used"
    )
    gain_db: tuple[float, float] = pydantic.Field((-10.0, 6.0), description="random gain")

    @pydantic.model_validator(mode="after")
    def _gains_in_order(self) -> Self:
        if self.gain_db[0] > self.gain_db[1]:
            raise ValueError("`gain_db` goes from the lower to the higher value")
        return self


class AudioCache:
    """Every file of a list, mono at one rate, end to end in one int16 file that is memory-mapped.

    The file's name is a hash of what is in it, so that a changed corpus is decoded anew and an
    unchanged one is not.
    """

    def __init__(self, files: Sequence[Path], sample_rate: int, folder: Path) -> None:
        self.path = folder / f"{_corpus_key(files, sample_rate)}.int16"
        if not self.path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as path:
                _decode_all(files, sample_rate, path)
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
        limit = 32768 * 10 ** (self.config.quietest_db / 20)
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


def training_files(config: DataConfig) -> tuple[list[Path], list[Path]]:
    """Training and validation files of a recipe.

    Raises:
        CodecError: nothing to train on, or nothing to validate on.
    """
    root = Path(config.root).expanduser()
    if config.librispeech:
        files = librispeech(root, config.librispeech, config.download)
    else:
        files = find_audio(root)
    if config.validation is not None:
        return files, find_audio(Path(config.validation).expanduser())
    if len(files) == 1:
        return files, files
    held_out = files[:: min(50, len(files))]
    return [file for file in files if file not in set(held_out)], held_out


def _corpus_key(files: Sequence[Path], sample_rate: int) -> str:
    entries = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime) for file in files]
    return hashlib.sha256(json.dumps([sample_rate, entries]).encode()).hexdigest()[:16]


def _decode_all(files: Sequence[Path], sample_rate: int, target: Path) -> None:
    """Decoding leaves Python's lock alone, so threads do it; files are written in their order."""

    def decode(file: Path) -> bytes:
        with AudioReader(file, sample_rate) as reader:
            blocks = [block.mean(axis=0) for block in reader.blocks(30.0)]
        mono = np.concatenate([np.zeros(0, np.float32), *blocks])
        return (mono * 32767).round().clip(-32768, 32767).astype("<i2").tobytes()

    with target.open("wb") as out, ThreadPoolExecutor(os.cpu_count()) as pool:
        bar = tqdm(total=len(files), desc="decoding", unit="file", disable=len(files) < 20)
        for start in range(0, len(files), FILES_IN_HAND):
            for samples in pool.map(decode, files[start : start + FILES_IN_HAND]):
                out.write(samples)
                bar.update()
        bar.close()
