"""Rumble: wind, traffic, steps and handling."""

from typing import Annotated

import pydantic
from torch import Tensor

from audiocodec.training.data.augmentations.augmentation import (
    Augmentation,
    Draw,
    Range,
    filtered,
    frequencies,
)

Hertz = Annotated[float, pydantic.Field(gt=5, le=200)]

LOWEST = 5.0
"""Hz; slower movements are the subject of ``offset``."""


class Rumble(Augmentation):
    """Noise below a random frequency, nothing above. A segment has at least one line of it."""

    level_db: Range = pydantic.Field((-60.0, -25.0), description="dBFS")
    below_hz: tuple[Hertz, Hertz] = pydantic.Field(
        (30.0, 80.0), description="frequency above which there is none, in Hz"
    )

    def __call__(self, audio: Tensor, draw: Draw) -> Tensor:
        hertz = frequencies(draw)
        step = draw.sample_rate / draw.length
        top = draw.uniform(*self.below_hz)
        band = (hertz >= LOWEST) & (hertz <= top.clamp_min(LOWEST + step))
        return audio + draw.amplitude(self.level_db) * filtered(draw.noise(draw.length), band)
