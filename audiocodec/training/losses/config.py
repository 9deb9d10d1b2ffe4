"""The part of a recipe that says which losses there are and how much each counts."""

from typing import Annotated, Any

import pydantic
import torch
from pydantic_core import InitErrorDetails, ValidationError
from torch import nn

from audiocodec.config import Config
from audiocodec.training.losses.registry import LOSSES

Weight = Annotated[float, pydantic.Field(ge=0, le=1e6)]


class LossConfig(Config):
    """The weight of each registered loss, by the loss's name, and the spectra of spectral losses.

    A weight that is not given is the loss's default. The name of no loss is refused.
    """

    model_config = pydantic.ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Weight]  # type: ignore[assignment]  # checked against LOSSES

    window_lengths: tuple[Annotated[int, pydantic.Field(ge=8, le=65_536)], ...] = pydantic.Field(
        (32, 64, 128, 256, 512, 1024, 2048),
        min_length=1,
        description="STFT windows in samples, hop a quarter",
    )
    mel_bands: tuple[Annotated[int, pydantic.Field(ge=1, le=4096)], ...] = pydantic.Field(
        (5, 10, 20, 40, 80, 160, 320), description="mel bands of each window"
    )
    windows_per_step: Annotated[int, pydantic.Field(ge=1, le=1000)] | None = pydantic.Field(
        None, description="windows used in a step, in turn, spread over them; null: all"
    )
    models: dict[str, str] = pydantic.Field(
        {}, description="folders of the frozen networks that losses need, by the loss's name"
    )

    @classmethod
    def known_keys(cls) -> list[str]:
        return sorted([*cls.model_fields, *LOSSES])

    def weight(self, name: str) -> float:
        """The weight of the loss called ``name``."""
        return (self.__pydantic_extra__ or {})[name]

    @pydantic.model_validator(mode="before")
    @classmethod
    def _with_default_weights(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        unknown = [key for key in values if key not in cls.model_fields and key not in LOSSES]
        if unknown:
            errors: list[InitErrorDetails] = [
                {"type": "extra_forbidden", "loc": (key,), "input": values[key]} for key in unknown
            ]
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return {name: loss.weight for name, loss in LOSSES.items()} | values

    @pydantic.model_validator(mode="after")
    def _lists_agree(self) -> "LossConfig":
        if len(self.mel_bands) != len(self.window_lengths):
            raise ValueError("`mel_bands` needs one value for each of `window_lengths`")
        for name in self.models:
            if name not in LOSSES or LOSSES[name].load_network is None:
                raise ValueError(f"`models.{name}`: there is no such loss, or it needs no model")
        return self

    def load_networks(self, sample_rate: int, device: torch.device) -> dict[str, nn.Module]:
        """The frozen networks of the losses whose weight is not 0, by the loss's name.

        Raises:
            CodecError: a model is missing, or does not fit the codec's sample rate.
        """
        return {
            name: loss.load_network(self.models.get(name), sample_rate).to(device)
            for name, loss in LOSSES.items()
            if loss.load_network is not None and self.weight(name) > 0
        }
