"""The contract of an augmentation, and the random numbers that it is given."""

import zlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Self

import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocodec.config import Config
from audiocodec.training.processes import WHOLE, Share

Level = Annotated[float, pydantic.Field(ge=-120, le=0)]
"""Root mean square in dB of full scale: 0 is a square wave of samples 1 and -1."""

Range = tuple[Level, Level]

Segments = Callable[[np.random.Generator, int, Share], Tensor]
"""Draws a number of segments of speech and returns a share of them, float32 ``[N, T]``."""


class Draw:
    """The random numbers of one augmentation for one batch: of the key and the kind of device.

    A few numbers per item are drawn on the CPU, noise on the batch's device. Nothing is read back
    from there, so a GPU is not waited for.

    Args:
        key: seed, number of the batch, and name of the augmentation.
        like: the batch, ``[B, 1, T]``, or this process's share of it.
        sample_rate: Hz.
        segments: draws other segments of the training audio.
        share: which share that is. Numbers are drawn for the whole batch, and tensors have those
            of the share.

    Attributes:
        batch_size: of the whole batch.
    """

    def __init__(
        self,
        key: tuple[int, int, str],
        like: Tensor,
        sample_rate: int,
        segments: Segments,
        share: Share = WHOLE,
    ) -> None:
        seed, number, name = key
        self.random = np.random.default_rng((seed, number, zlib.crc32(name.encode())))
        self.batch_size, self.length = len(like) * share.count, like.shape[-1]
        self.device = like.device
        self.sample_rate = sample_rate
        self._segments, self._share = segments, share

    def chosen(self, probability: float) -> NDArray[np.bool_]:
        """Which items ``[B]`` are augmented."""
        return self.random.random(self.batch_size) < probability

    def tensor(self, values: NDArray[np.generic]) -> Tensor:
        """``values [B, ...]``, one for each item, on the batch's device, float32."""
        values = values[self._share.rows(len(values))]
        return torch.from_numpy(values.astype(np.float32)).to(self.device, non_blocking=True)

    def uniform(self, low: float, high: float, count: int = 1) -> Tensor:
        """Uniform numbers, ``[B, count, 1]``."""
        return self.tensor(self.random.uniform(low, high, (self.batch_size, count, 1)))

    def amplitude(self, level_db: Range) -> Tensor:
        """Amplitudes ``[B, 1, 1]`` of levels that are uniform in dB."""
        return torch.pow(10, self.uniform(*level_db) / 20)

    def choice(self, values: tuple[float, ...]) -> Tensor:
        """One of ``values`` for each item, ``[B, 1, 1]``."""
        return self.tensor(self.random.choice(values, (self.batch_size, 1, 1)))

    def noise(self, length: int) -> Tensor:
        """Gaussian noise of variance 1, ``[B, 1, length]``."""
        generator = torch.Generator(self.device)
        generator.manual_seed(int(self.random.integers(2**62)))
        shape = (self.batch_size, 1, length)
        noise = torch.randn(shape, generator=generator, device=self.device)
        return noise[self._share.rows(self.batch_size)]

    def speech(self, count: int) -> Tensor:
        """Other segments of the training audio, ``[B, count, T]`` in [-1, 1]."""
        segments = self._segments(self.random, self.batch_size * count, self._share)
        return segments.view(-1, count, self.length)


class Augmentation(Config):
    """The settings of one augmentation, and what it does. Off unless it has a probability."""

    probability: Annotated[float, pydantic.Field(ge=0, le=1)] = pydantic.Field(
        0.0, description="share of the segments that have it"
    )

    @abstractmethod
    def __call__(self, audio: Tensor, draw: Draw) -> Tensor:
        """All items of ``audio [B, 1, T]`` augmented, of the same shape, not delayed."""

    @pydantic.model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            is_range = isinstance(value, tuple) and len(value) == 2
            if is_range and isinstance(value[0], int | float) and value[0] > value[1]:
                raise ValueError(f"the first value of `{name}` is greater than the second")
        return self


def rms(audio: Tensor) -> Tensor:
    """Root mean square over the last dimension, which is kept; never 0."""
    return audio.square().mean(dim=-1, keepdim=True).clamp_min(1e-20).sqrt()


def filtered(audio: Tensor, response: Tensor) -> Tensor:
    """``audio [..., T]`` with its spectrum multiplied, and a root mean square of 1.

    Args:
        response: at the frequencies of a real FFT, ``[..., T // 2 + 1]``.
    """
    shaped = torch.fft.irfft(torch.fft.rfft(audio) * response, n=audio.shape[-1])
    return shaped / rms(shaped)


def frequencies(draw: Draw) -> Tensor:
    """Frequencies of a real FFT of a segment, in Hz, ``[T // 2 + 1]``."""
    return torch.fft.rfftfreq(draw.length, 1 / draw.sample_rate, device=draw.device)
