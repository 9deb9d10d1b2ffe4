"""The settings of a training run of a context model."""

from __future__ import annotations

from typing import Annotated, Self

import pydantic

from audiocodec.config import Config
from audiocodec.training.context.network import ContextConfig

Count = Annotated[int, pydantic.Field(ge=1)]


class ContextSettings(Config):
    """How long and how a context model is trained. One of ``steps`` and ``minutes`` is the end."""

    steps: Count | None = pydantic.Field(None, description="length of the run in updates")
    minutes: Annotated[float, pydantic.Field(gt=0)] | None = pydantic.Field(
        None, description="length of the run in minutes of training"
    )
    batch_size: Count = pydantic.Field(24, description="segments in a batch")
    segment_frames: Annotated[int, pydantic.Field(ge=2)] = pydantic.Field(
        150, description="frames of a segment: of a token file's block"
    )
    learning_rate: Annotated[float, pydantic.Field(gt=0, le=1)] = 2e-3
    warmup_steps: Annotated[int, pydantic.Field(ge=0)] = 100
    frequent: tuple[Count, ...] = pydantic.Field(
        (1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 8, 12),
        description="numbers of codebooks in use, besides all, that two thirds of the segments "
        "are drawn from; the others use any. Few codebooks predict worse, and cost little",
    )
    seed: Annotated[int, pydantic.Field(ge=0)] = 0
    checkpoint_seconds: Annotated[float, pydantic.Field(gt=0)] = 120.0
    network: ContextConfig = ContextConfig()

    @pydantic.model_validator(mode="after")
    def _has_one_end(self) -> Self:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give one of `steps` and `minutes`")
        return self
