"""A room: reverberation that decays exponentially."""

import math
from typing import Annotated

import pydantic
import torch
from torch import Tensor

from audiocodec.training.data.augmentations.augmentation import Augmentation, Draw

Seconds = Annotated[float, pydantic.Field(ge=0.05, le=2)]
Ratio = Annotated[float, pydantic.Field(ge=-20, le=40)]

GAP_SECONDS = 0.003
"""From the direct path to the first reflection: a path that is 1 m longer."""


class Room(Augmentation):
    """The convolution with a synthetic impulse response: direct path, then decaying noise.

    The direct path comes first, so there is no delay. The noise falls by 60 dB in the
    reverberation time RT60 (Polack 1988; Jot et al. 1997). The level of white noise is kept. The
    reverberation of what was said before the segment is missing.
    """

    rt60_seconds: tuple[Seconds, Seconds] = pydantic.Field(
        (0.1, 0.6), description="time in which the reverberation falls by 60 dB"
    )
    direct_db: tuple[Ratio, Ratio] = pydantic.Field(
        (0.0, 15.0), description="direct path against all reverberation, dB"
    )

    def __call__(self, audio: Tensor, draw: Draw) -> Tensor:
        response = self.response(draw)
        size = _fast_size(draw.length + response.shape[-1])
        spectrum = torch.fft.rfft(audio, n=size) * torch.fft.rfft(response, n=size)
        return torch.fft.irfft(spectrum, n=size)[..., : draw.length]

    def response(self, draw: Draw) -> Tensor:
        """Impulse responses of energy 1, ``[B, 1, L]``, no longer than a segment."""
        length = min(draw.length, round(self.rt60_seconds[1] * draw.sample_rate))
        seconds = torch.arange(length, device=draw.device) / draw.sample_rate
        decay = torch.exp(-seconds * 3 * math.log(10) / draw.uniform(*self.rt60_seconds))
        tail = draw.noise(length) * decay * (seconds >= GAP_SECONDS)
        tail = tail / tail.norm(dim=-1, keepdim=True).clamp_min(1e-10)
        direct = torch.zeros_like(tail)
        direct[..., :1] = torch.pow(10, draw.uniform(*self.direct_db) / 20)
        response = direct + tail
        return response / response.norm(dim=-1, keepdim=True)


def _fast_size(least: int) -> int:
    """The next power of two."""
    return int(1 << (least - 1).bit_length())
