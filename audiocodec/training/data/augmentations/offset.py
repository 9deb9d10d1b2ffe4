"""A constant offset, as cheap audio devices have."""

from typing import Annotated

import pydantic
from torch import Tensor

from audiocodec.training.data.augmentations.augmentation import Augmentation, Draw

Amount = Annotated[float, pydantic.Field(ge=0, le=0.5)]


class Offset(Augmentation):
    """A constant of either sign."""

    amount: tuple[Amount, Amount] = pydantic.Field(
        (0.0, 0.1), description="its size, as a part of full scale"
    )

    def __call__(self, audio: Tensor, draw: Draw) -> Tensor:
        return audio + draw.choice((-1.0, 1.0)) * draw.uniform(*self.amount)
