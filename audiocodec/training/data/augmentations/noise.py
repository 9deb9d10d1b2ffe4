"""Steady noise: rooms, microphones, amplifiers, tape."""

import pydantic
from torch import Tensor

from audiocodec.evaluation.probes import DB_PER_DOUBLING, LOWEST_NOISE, NOISE_SLOPES, NOISES
from audiocodec.evaluation.probes import Noise as Colour
from audiocodec.training.data.augmentations.augmentation import (
    Augmentation,
    Draw,
    Range,
    filtered,
    frequencies,
)


class Noise(Augmentation):
    """White, pink or rising noise (hiss), the same over the whole segment."""

    level_db: Range = pydantic.Field((-60.0, -20.0), description="dBFS")
    colours: tuple[Colour, ...] = pydantic.Field(
        NOISES, min_length=1, description="one is drawn for each segment"
    )

    def __call__(self, audio: Tensor, draw: Draw) -> Tensor:
        hertz = frequencies(draw)
        slopes = draw.choice(tuple(NOISE_SLOPES[colour] for colour in self.colours))
        shape = (hertz.clamp_min(1.0) / 1000) ** (slopes / DB_PER_DOUBLING)
        response = shape * (hertz >= LOWEST_NOISE)  # below it would be most of pink noise
        return audio + draw.amplitude(self.level_db) * filtered(draw.noise(draw.length), response)
