"""Steady noise: rooms, microphones, amplifiers, tape."""

from typing import Literal

import pydantic
from torch import Tensor

from audiocodec.training.data.augmentations.augmentation import (
    Augmentation,
    Draw,
    Range,
    filtered,
    frequencies,
)

SLOPES = {"white": 0.0, "pink": -3.0, "hiss": 3.0}
"""Change of the power density in dB per octave."""

LOWEST = 20.0
"""Hz; there is no noise below, where pink noise would be mostly."""


class Noise(Augmentation):
    """White, pink or rising noise (hiss), the same over the whole segment."""

    level_db: Range = pydantic.Field((-60.0, -20.0), description="dBFS")
    colours: tuple[Literal["white", "pink", "hiss"], ...] = pydantic.Field(
        ("white", "pink", "hiss"), min_length=1, description="one is drawn for each segment"
    )

    def __call__(self, audio: Tensor, draw: Draw) -> Tensor:
        hertz = frequencies(draw)
        slopes = draw.choice(tuple(SLOPES[colour] for colour in self.colours))
        response = (hertz.clamp_min(1.0) / 1000) ** (slopes / (20 * 0.30103)) * (hertz >= LOWEST)
        return audio + draw.amplitude(self.level_db) * filtered(draw.noise(draw.length), response)
