"""All augmentations by name. A new one is a file of its own and one line here."""

from collections.abc import Iterator
from typing import Self

import pydantic

from audiocodec.config import Config
from audiocodec.training.data.augmentations.augmentation import Augmentation
from audiocodec.training.data.augmentations.babble import Babble
from audiocodec.training.data.augmentations.hum import Hum
from audiocodec.training.data.augmentations.noise import Noise
from audiocodec.training.data.augmentations.offset import Offset
from audiocodec.training.data.augmentations.room import Room
from audiocodec.training.data.augmentations.rumble import Rumble


class AugmentConfig(Config):
    """The augmentations of a recipe, in the order in which they are applied. All are off.

    Room, babble and noise are part of the audio that the codec codes: the reference has them too.
    Offset, hum and rumble are not wanted, and a codec with a high-pass in front of its encoder
    cannot reproduce most of them. A reference with them would ask for the impossible, so by
    default (``denoise``) the input has them and the reference has not.
    """

    room: Room = Room()
    babble: Babble = Babble()
    noise: Noise = Noise()
    rumble: Rumble = Rumble()
    hum: Hum = Hum()
    offset: Offset = Offset()
    denoise: tuple[str, ...] = pydantic.Field(
        ("offset", "hum", "rumble"),
        description="augmentations that the reference does not have: the codec removes them",
    )

    def in_use(self) -> Iterator[tuple[str, Augmentation]]:
        """Names and settings of the augmentations that are on, in their order."""
        for name in type(self).model_fields:
            augmentation = getattr(self, name)
            if isinstance(augmentation, Augmentation) and augmentation.probability > 0:
                yield name, augmentation

    @pydantic.model_validator(mode="after")
    def _denoises_augmentations(self) -> Self:
        known = [name for name in type(self).model_fields if name != "denoise"]
        for name in self.denoise:
            if name not in known:
                raise ValueError(f"`denoise` has {name!r}, which is none of {', '.join(known)}")
        return self
