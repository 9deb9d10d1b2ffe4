"""Mains hum."""

import math
from typing import Annotated

import numpy as np
import pydantic
import torch
from torch import Tensor

from audiocodec.training.data.augmentations.augmentation import (
    Augmentation,
    Draw,
    Range,
    rms,
)


class Hum(Augmentation):
    """50 or 60 Hz and harmonics, with random phases and levels.

    The amplitude of harmonic ``k`` is uniform between 0 and ``1 / k``.
    """

    level_db: Range = pydantic.Field((-60.0, -25.0), description="of all harmonics together, dBFS")
    harmonics: Annotated[int, pydantic.Field(ge=1, le=100)] = 10

    def __call__(self, audio: Tensor, draw: Draw) -> Tensor:
        harmonics = np.arange(1, self.harmonics + 1)[:, None]
        mains = draw.random.choice([50.0, 60.0], (draw.batch_size, 1, 1))
        amplitudes = draw.random.uniform(0, 1 / harmonics, (draw.batch_size, *harmonics.shape))
        amplitudes *= mains * harmonics < draw.sample_rate / 2
        amplitudes /= np.sqrt(np.square(amplitudes).sum(axis=1, keepdims=True) / 2)
        phases = draw.uniform(0, 2 * math.pi, self.harmonics)
        seconds = torch.arange(draw.length, device=draw.device) / draw.sample_rate
        angles = 2 * math.pi * draw.tensor(mains * harmonics) * seconds + phases
        hum = (draw.tensor(amplitudes) * angles.sin()).sum(dim=1, keepdim=True)
        return audio + draw.amplitude(self.level_db) * hum / rms(hum)
