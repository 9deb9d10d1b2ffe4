"""Random segments of the training audio.

A batch depends on (seed, number) alone, so that a resumed run trains on the same batches as one
that was never stopped; unless audio arrives while it trains.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocodec.errors import CodecError
from audiocodec.training.data.arrivals import Arrivals
from audiocodec.training.data.augmentations.batch import Batch, augmented
from audiocodec.training.data.cache import AudioCache
from audiocodec.training.data.files import DataConfig
from audiocodec.training.processes import WHOLE, Share

GPU_RESIDENT_BYTES = 16 * 2**30
"""Audio up to this size is copied to the GPU as a whole, so that no step waits for it."""

MAX_TRIES = 20
"""Random positions tried to find a segment that is not silent."""

MAX_SEGMENTS_CHECKED = 20_000
"""Segments, evenly spaced, whose level is measured before all audio is called silent."""


class SegmentSampler:
    """Random segments with random gain and polarity, and the augmentations of ``data.augment``.

    Args:
        batch_size: items of a whole batch.
        share: the part of each batch that :meth:`batch` returns. All parts together are the whole
            batch, item by item.

    Raises:
        CodecError: less audio than one segment, or only silence.
    """

    def __init__(
        self,
        cache: AudioCache,
        config: DataConfig,
        sample_rate: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        arrivals: Arrivals | None = None,
        share: Share = WHOLE,
    ) -> None:
        self.length = round(config.segment_seconds * sample_rate)
        if cache.num_samples < self.length:
            raise CodecError(
                f"data.root: {cache.num_samples / sample_rate:.2f} s of audio in all, less than "
                f"one segment of {config.segment_seconds:g} s"
            )
        _check_audible(cache.samples, self.length, config)
        self.config = config
        self.sample_rate = sample_rate
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self._arrivals = arrivals
        self._share = share
        self._parts: list[NDArray[np.int16]] = []
        self._firsts = self._starts = np.zeros(1, np.int64)
        """``[parts + 1]``: samples, and segments by their start, in the parts before each."""
        self._resident = torch.zeros(0, dtype=torch.int16) if device.type == "cuda" else None
        self.add(cache.samples)

    def add(self, samples: NDArray[np.int16]) -> None:
        """Draw segments from ``samples [T]`` too, if they are as long as one."""
        if len(samples) < self.length:
            return
        self._parts.append(samples)
        self._firsts = np.append(self._firsts, self._firsts[-1] + len(samples))
        starts = len(samples) - self.length + 1
        self._starts = np.append(self._starts, self._starts[-1] + starts)
        if self._resident is not None and 2 * self._firsts[-1] <= GPU_RESIDENT_BYTES:
            added = torch.from_numpy(np.array(samples)).to(self.device)
            self._resident = torch.cat([self._resident.to(self.device), added])
        else:
            self._resident = None

    def batch(self, number: int) -> Batch:
        """This process's share of batch ``number``, ``[B, 1, T]``; the same at every call."""
        for samples in self._arrivals.take() if self._arrivals is not None else ():
            self.add(samples)
        random = np.random.default_rng((self.seed, number))
        rows = self._share.rows(self.batch_size)
        starts = self._audible_starts(random, self.batch_size)[rows]
        low, high = self.config.gain_db
        gains = 10 ** (random.uniform(low, high, self.batch_size) / 20)
        gains *= random.choice([-1.0, 1.0], self.batch_size) / 32768
        scale = (
            torch.from_numpy(gains[rows]).float().view(-1, 1, 1).to(self.device, non_blocking=True)
        )
        speech = (self._gather(starts).unsqueeze(1) * scale).clamp(-1, 1)
        key = (self.seed, number)
        augment = self.config.augment
        return augmented(speech, augment, self.sample_rate, key, self._others, self._share)

    def _others(self, random: np.random.Generator, count: int, share: Share) -> Tensor:
        """A share of ``count`` other segments that are not silent, ``[N, T]`` in [-1, 1]."""
        return self._gather(self._audible_starts(random, count)[share.rows(count)]) / 32768

    def _gather(self, starts: NDArray[np.int64]) -> Tensor:
        """The segments that begin at ``starts [N]``: 16-bit numbers as float32, ``[N, T]``."""
        if self._resident is not None:
            offsets = torch.arange(self.length, device=self.device)
            firsts = torch.from_numpy(starts).to(self.device, non_blocking=True)
            return self._resident[firsts.unsqueeze(1) + offsets].float()
        segments = torch.from_numpy(np.stack([self._segment(start) for start in starts]))
        return segments.to(self.device, non_blocking=True).float()

    def _audible_starts(self, random: np.random.Generator, count: int) -> NDArray[np.int64]:
        """First samples of segments, not silent ones unless :data:`MAX_TRIES` were."""
        threshold = 32768 * 10 ** (self.config.silence_threshold_db / 20)
        starts = np.empty(count, dtype=np.int64)
        for item in range(count):
            for _ in range(MAX_TRIES):
                number = random.integers(self._starts[-1])
                part = np.searchsorted(self._starts, number, side="right") - 1
                starts[item] = number - self._starts[part] + self._firsts[part]
                segment = self._segment(starts[item]).astype(np.float32)
                if np.sqrt(np.mean(segment * segment)) > threshold:
                    break
        return starts

    def _segment(self, start: int) -> NDArray[np.int16]:
        part = np.searchsorted(self._firsts, start, side="right") - 1
        first = start - self._firsts[part]
        return self._parts[part][first : first + self.length]


def level_db(samples: NDArray[np.integer] | NDArray[np.floating], full_scale: float) -> float:
    """Root mean square of samples in dB of full scale; minus infinity for silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return 10 * float(np.log10(power)) - 20 * float(np.log10(full_scale)) if power else -np.inf


def _check_audible(samples: NDArray[np.int16], length: int, config: DataConfig) -> None:
    """Raise :class:`CodecError` if no segment is above ``silence_threshold_db``."""
    loudest = -np.inf
    count = min(MAX_SEGMENTS_CHECKED, -(-len(samples) // length))
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
