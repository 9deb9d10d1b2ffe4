"""A SEANet-style encoder and its mirror image (Tagliasacchi et al. 2020, arXiv 2009.02095).

Both are made from one :class:`SEANetConfig`; the decoder reads every list backwards. Levels are
counted from the sample rate down to the frame rate: ``channels[i]`` is the width at level ``i`` and
``strides[i]`` leads from level ``i`` to level ``i + 1``.

The waveform enters and leaves in patches of ``patch`` samples: convolutions at the full sample rate
are narrow, hence slow on every machine, and a first layer of a few taps does their work.

What leads from level to level is linear; activations stand inside the residual units alone, which
start small. So the linear path can start as a transform and its inverse (:mod:`.mdct`); with an
activation before each change of level, speech arrives at the latents as little more than its
envelope (docs/log.md, 2026-11-23).
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import prod
from typing import Annotated, Any, Literal, Self

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.config import Config
from audiocodec.modules.conv import (
    CausalConv1d,
    CausalConvTranspose1d,
    StreamState,
    fold_patches,
    name_layers,
    unfold_patches,
)
from audiocodec.modules.highpass import HighPass
from audiocodec.modules.scale import RunningScale

Small = Annotated[int, pydantic.Field(ge=1, le=1024)]
Channels = Annotated[int, pydantic.Field(ge=1, le=16_384)]

MOST_HOP = 8192
MOST_CONTEXT = 100_000
"""Columns that a dilated convolution may look back."""

SPEECH_LEVEL = 0.1
"""A usual root-mean-square of speech: networks start with signals of about unit size inside."""

RESIDUAL_GAIN = 0.05
"""Level of a fresh residual unit relative to the signal that it is added to."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.1),  # no lambda: it would not pickle
    "elu": F.elu,
    "silu": F.silu,
}


class SEANetConfig(Config):
    """The shape of encoder and decoder."""

    patch: Small = pydantic.Field(2, description="samples that enter as one column")
    strides: tuple[Small, ...] = pydantic.Field(
        (4, 5, 8), description="downsampling from each level to the next"
    )
    channels: tuple[Channels, ...] = pydantic.Field(
        (32, 64, 128, 384), description="width of each level, one more than strides"
    )
    residual_units: tuple[Annotated[int, pydantic.Field(ge=0, le=256)], ...] = pydantic.Field(
        (1, 3, 3, 6), description="residual units at each level"
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
    latent_dim: Channels = pydantic.Field(192, description="width of the latents")
    lookahead: Annotated[int, pydantic.Field(ge=0, le=8)] = pydantic.Field(
        1, description="frames that the decoder is behind its input"
    )

    @pydantic.model_validator(mode="after")
    def _lists_agree(self) -> Self:
        levels = len(self.strides) + 1
        for key in ("channels", "residual_units"):
            if len(getattr(self, key)) != levels:
                raise ValueError(
                    f"`{key}` needs {levels} values, one for each level: "
                    f"{len(self.strides)} strides make {levels} levels"
                )
        if self.hop_length > MOST_HOP:
            raise ValueError(
                f"`patch` and `strides` make frames of {self.hop_length} samples; {MOST_HOP} is "
                "the most"
            )
        deepest = min(max(self.residual_units), self.dilation_cycle)
        context = (self.residual_kernel_size - 1) * self.dilation_base ** max(0, deepest - 1)
        if context > MOST_CONTEXT:
            raise ValueError(
                f"`dilation_base`, `dilation_cycle` and `residual_kernel_size` make a convolution "
                f"look back more than {MOST_CONTEXT} columns; lower one of them"
            )
        return self

    def computation(self) -> dict[str, Any]:
        """See :meth:`audiocodec.codec.CodecConfig.computation`."""
        return {
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


class ResidualUnit(nn.Module):
    """Activation, dilated convolution, activation, pointwise convolution, added to the input.

    ``[B, C, T]`` -> ``[B, C, T]``.
    """

    def __init__(self, channels: int, kernel_size: int, dilation: int, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.dilated = CausalConv1d(channels, channels, kernel_size, dilation=dilation)
        self.pointwise = CausalConv1d(channels, channels, 1, gain=RESIDUAL_GAIN)

    def forward(self, x: Tensor, state: StreamState | None = None) -> Tensor:
        hidden = self.dilated(self.activation(x), state)
        return x + self.pointwise(self.activation(hidden), state)


class Chain(nn.ModuleList):
    """Layers one after the other: ``[B, C, T]`` -> ``[B, C, T]``."""

    def forward(self, x: Tensor, state: StreamState | None = None) -> Tensor:
        for layer in self:
            x = layer(x, state)
        return x


def _residual_units(config: SEANetConfig, level: int) -> Chain:
    return Chain(
        ResidualUnit(
            config.channels[level],
            config.residual_kernel_size,
            config.dilation_base ** (unit % config.dilation_cycle),
            config.activation,
        )
        for unit in range(config.residual_units[level])
    )


class SEANetEncoder(nn.Module):
    """Audio ``[B, 1, T]``, ``T`` a multiple of the hop, -> latents ``[B, D, T / hop]``.

    The latents have a root-mean-square of about 1 over all frames and channels of speech.
    """

    def __init__(self, config: SEANetConfig, highpass: HighPass | None = None) -> None:
        super().__init__()
        self.patch = config.patch
        self.highpass = highpass
        self.first = CausalConv1d(
            config.patch, config.channels[0], config.kernel_size, gain=1 / SPEECH_LEVEL
        )
        self.levels = nn.ModuleList([_residual_units(config, 0)])
        self.downsamples = nn.ModuleList()
        for level, (width, wider) in enumerate(pairwise(config.channels)):
            stride = config.strides[level]
            self.downsamples.append(CausalConv1d(width, wider, 2 * stride, stride=stride))
            self.levels.append(_residual_units(config, level + 1))
        self.last = CausalConv1d(config.channels[-1], config.latent_dim, 3)
        self.scale = RunningScale()
        name_layers(self)

    def forward(self, audio: Tensor, state: StreamState | None = None) -> Tensor:
        if self.highpass is not None:
            audio = self.highpass(audio, state)
        x = self.first(fold_patches(audio, self.patch), state)
        for level, units in enumerate(self.levels):
            if level > 0:
                x = self.downsamples[level - 1](x, state)
            x = units(x, state)
        latents = self.last(x, state)
        return self.scale(latents.to(torch.promote_types(latents.dtype, torch.float32)))


class SEANetDecoder(nn.Module):
    """Latents ``[B, D, F]`` -> audio ``[B, 1, F * hop]``, not clipped."""

    def __init__(self, config: SEANetConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.first = CausalConv1d(config.latent_dim, config.channels[-1], config.kernel_size)
        self.levels = nn.ModuleList([_residual_units(config, len(config.strides))])
        self.upsamples = nn.ModuleList()
        for level in reversed(range(len(config.strides))):
            wider, width = config.channels[level + 1], config.channels[level]
            self.upsamples.append(CausalConvTranspose1d(wider, width, config.strides[level]))
            self.levels.append(_residual_units(config, level))
        self.last = CausalConv1d(
            config.channels[0], config.patch, config.kernel_size, gain=SPEECH_LEVEL
        )
        # An inaudible offset, with the largest gradient of all (docs/log.md, 2026-11-25).
        self.last.conv.get_parameter("bias").requires_grad_(False)
        name_layers(self)

    def forward(self, latents: Tensor, state: StreamState | None = None) -> Tensor:
        x = self.first(latents, state)
        for level, units in enumerate(self.levels):
            if level > 0:
                x = self.upsamples[level - 1](x, state)
            x = units(x, state)
        return unfold_patches(self.last(x, state), self.patch)
