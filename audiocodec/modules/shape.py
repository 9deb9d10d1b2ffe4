"""The shape of encoder and decoder: levels, widths, depths.

Levels are counted from the sample rate down to the frame rate: ``channels[i]`` is the width at
level ``i`` and ``strides[i]`` leads from level ``i`` to level ``i + 1``. The decoder reads every
list backwards.
"""

from math import prod
from typing import Annotated, Any, Literal, Self

import pydantic

from audiocodec.config import Config
from audiocodec.modules.attention import AttentionConfig

Small = Annotated[int, pydantic.Field(ge=1, le=1024)]
Channels = Annotated[int, pydantic.Field(ge=1, le=16_384)]
Units = Annotated[int, pydantic.Field(ge=0, le=256)]

MOST_HOP = 8192
MOST_CONTEXT = 100_000
"""Columns that a dilated convolution may look back."""


class SEANetConfig(Config):
    """The shape of encoder and decoder."""

    patch: Small = pydantic.Field(2, description="samples that enter as one column")
    strides: tuple[Small, ...] = pydantic.Field(
        (4, 5, 8), description="downsampling from each level to the next"
    )
    channels: tuple[Channels, ...] = pydantic.Field(
        (32, 64, 128, 384), description="width of each level, one more than strides"
    )
    residual_units: tuple[Units, ...] = pydantic.Field(
        (1, 3, 3, 6), description="residual units at each level"
    )
    decoder_channels: tuple[Channels, ...] = pydantic.Field(
        (), description="width of each level of the decoder; empty: `channels`"
    )
    decoder_residual_units: tuple[Units, ...] = pydantic.Field(
        (), description="residual units at each level of the decoder; empty: `residual_units`"
    )
    kernel_size: Small = pydantic.Field(7, description="of the first and the last convolution")
    residual_kernel_size: Small = pydantic.Field(3, description="of a unit's first convolution")
    dilation_base: Small = pydantic.Field(
        3, description="unit i of a level has dilation base ** (i % dilation_cycle)"
    )
    dilation_cycle: Small = pydantic.Field(
        3, description="units of a level after which dilations begin anew"
    )
    activation: Literal["leaky_relu", "elu", "silu"] = "leaky_relu"
    snake_levels: tuple[Annotated[int, pydantic.Field(ge=0)], ...] = pydantic.Field(
        (), description="levels whose residual units have Snake instead of `activation`"
    )
    attention: AttentionConfig = AttentionConfig()
    latent_dim: Channels = pydantic.Field(192, description="width of the latents")
    lookahead: Annotated[int, pydantic.Field(ge=0, le=8)] = pydantic.Field(
        1, description="frames that the decoder is behind its input"
    )

    @pydantic.model_validator(mode="after")
    def _lists_agree(self) -> Self:
        levels = len(self.strides) + 1
        for key in ("channels", "residual_units", "decoder_channels", "decoder_residual_units"):
            count = len(getattr(self, key))
            if count != levels and (count or not key.startswith("decoder_")):
                raise ValueError(
                    f"`{key}` needs {levels} values, one for each level: "
                    f"{len(self.strides)} strides make {levels} levels"
                )
        if max(self.snake_levels, default=0) >= levels:
            raise ValueError(
                f"`snake_levels` has {max(self.snake_levels)}, but levels are 0 (the highest "
                f"rate) to {levels - 1} (frames)"
            )
        for key, side in (("channels", self), ("decoder_channels", self.of_decoder())):
            width, heads = side.channels[-1], self.attention.heads
            if self.attention.blocks and width % (2 * heads):
                raise ValueError(
                    f"`attention.heads` is {heads}, and `{key}` ends with {width}: heads need "
                    f"an equal and even number of channels; {width} is no multiple of {2 * heads}"
                )
        if self.hop_length > MOST_HOP:
            raise ValueError(
                f"`patch` and `strides` make frames of {self.hop_length} samples; {MOST_HOP} is "
                "the most"
            )
        most_units = max(*self.residual_units, *self.decoder_residual_units, 0)
        deepest = min(most_units, self.dilation_cycle)
        context = (self.residual_kernel_size - 1) * self.dilation_base ** max(0, deepest - 1)
        if context > MOST_CONTEXT:
            raise ValueError(
                f"`dilation_base`, `dilation_cycle` and `residual_kernel_size` make a convolution "
                f"look back more than {MOST_CONTEXT} columns; lower one of them"
            )
        return self

    def computation(self) -> dict[str, Any]:
        """See :meth:`audiocodec.codec.CodecConfig.computation`."""
        decoder = self.of_decoder()
        added = {
            "decoder_channels": decoder.channels if decoder.channels != self.channels else (),
            "decoder_residual_units": (
                decoder.residual_units if decoder.residual_units != self.residual_units else ()
            ),
            "snake_levels": sorted(set(self.snake_levels)),
            "attention": self.attention.computation(),
        }
        return {
            **{name: value for name, value in added.items() if value},
            "patch": self.patch,
            "strides": self.strides,
            "channels": self.channels,
            "residual_units": self.residual_units,
            "kernel_size": self.kernel_size,
            "residual_kernel_size": self.residual_kernel_size,
            "dilation_base": self.dilation_base,
            "dilation_cycle": self.dilation_cycle,
            "activation": self.activation,
            "latent_dim": self.latent_dim,
            "lookahead": self.lookahead,
        }

    @property
    def hop_length(self) -> int:
        """Samples in one frame."""
        return self.patch * prod(self.strides)

    @property
    def periods(self) -> tuple[int, ...]:
        """Samples in a column of each level that the decoder upsamples from, frames first."""
        levels = range(len(self.strides), 0, -1)
        return tuple(self.patch * prod(self.strides[:level]) for level in levels)

    def of_decoder(self) -> Self:
        """The same with the decoder's own widths and units as `channels` and `residual_units`."""
        return self.model_copy(
            update={
                "channels": self.decoder_channels or self.channels,
                "residual_units": self.decoder_residual_units or self.residual_units,
            }
        )
