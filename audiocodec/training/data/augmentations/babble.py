"""Babble: other people talk in the background."""

from typing import Annotated

import numpy as np
import pydantic
from torch import Tensor

from audiocodec.training.data.augmentations.augmentation import Augmentation, Draw, rms

Voices = Annotated[int, pydantic.Field(ge=1, le=20)]
Ratio = Annotated[float, pydantic.Field(ge=-20, le=60)]


class Babble(Augmentation):
    """A mix of other segments of the training audio, all equally loud, below the speech."""

    voices: tuple[Voices, Voices] = pydantic.Field((1, 5), description="how many talk")
    snr_db: tuple[Ratio, Ratio] = pydantic.Field(
        (5.0, 25.0), description="speech against babble, dB"
    )

    def __call__(self, audio: Tensor, draw: Draw) -> Tensor:
        low, high = self.voices
        voices = draw.speech(high)
        counts = draw.random.integers(low, high + 1, (draw.batch_size, 1, 1))
        present = draw.tensor(np.arange(high)[:, None] < counts)
        mix = (present * voices / rms(voices)).sum(dim=1, keepdim=True)
        level = rms(audio) * draw.amplitude((-self.snr_db[1], -self.snr_db[0]))
        return audio + level * mix / rms(mix)
