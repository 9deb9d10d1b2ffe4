"""A SEANet-style encoder and its mirror image (Tagliasacchi et al. 2020, arXiv 2009.02095).

Both are made from one :class:`~audiocodec.modules.shape.SEANetConfig`; the decoder reads every list
backwards.

The waveform enters and leaves in patches of ``patch`` samples: convolutions at the full sample rate
are narrow, hence slow on every machine, and a first layer of a few taps does their work.

What leads from level to level is linear; activations stand inside the residual units alone, which
start small. So the linear path can start as a transform and its inverse (:mod:`.mdct`); with an
activation before each change of level, speech arrives at the latents as little more than its
envelope (docs/log.md, 2026-11-23).

Attention, where a shape has it, stands between the residual units at the frame rate: after them in
the encoder, before them in the decoder.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from audiocodec.modules.attention import CausalAttention
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
from audiocodec.modules.shape import SEANetConfig
from audiocodec.modules.units import Chain, residual_units

SPEECH_LEVEL = 0.1
"""A usual root-mean-square of speech: networks start with signals of about unit size inside."""


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
        self.levels = nn.ModuleList([residual_units(config, 0)])
        self.downsamples = nn.ModuleList()
        for level, (width, wider) in enumerate(pairwise(config.channels)):
            stride = config.strides[level]
            self.downsamples.append(CausalConv1d(width, wider, 2 * stride, stride=stride))
            self.levels.append(residual_units(config, level + 1))
        self.attention = attention_blocks(config, config.attention.encoder_blocks)
        self.last = CausalConv1d(config.channels[-1], config.latent_dim, 3)
        self.scale = RunningScale()
        name_layers(self)

    def forward(self, audio: Tensor, state: StreamState | None = None) -> Tensor:
        return self.scale(self.unscaled(audio, state))

    def unscaled(self, audio: Tensor, state: StreamState | None = None) -> Tensor:
        """The latents before their running scale: each item depends on its audio alone."""
        if self.highpass is not None:
            audio = self.highpass(audio, state)
        x = self.first(fold_patches(audio, self.patch), state)
        for level, units in enumerate(self.levels):
            if level > 0:
                x = self.downsamples[level - 1](x, state)
            blocks = list(self.attention) if units is self.levels[-1] else []
            for layer in interleaved(cast(Chain, units), blocks, first=False):
                x = layer(x, state)
        latents = self.last(x, state)
        return latents.to(torch.promote_types(latents.dtype, torch.float32))


class SEANetDecoder(nn.Module):
    """Latents ``[B, D, F]`` -> audio ``[B, 1, F * hop]``, not clipped."""

    def __init__(self, config: SEANetConfig) -> None:
        super().__init__()
        config = config.of_decoder()
        self.patch = config.patch
        self.first = CausalConv1d(config.latent_dim, config.channels[-1], config.kernel_size)
        self.attention = attention_blocks(config, config.attention.decoder_blocks)
        self.levels = nn.ModuleList([residual_units(config, len(config.strides))])
        self.upsamples = nn.ModuleList()
        for level in reversed(range(len(config.strides))):
            wider, width = config.channels[level + 1], config.channels[level]
            self.upsamples.append(CausalConvTranspose1d(wider, width, config.strides[level]))
            self.levels.append(residual_units(config, level))
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
            blocks = list(self.attention) if level == 0 else []
            for layer in interleaved(cast(Chain, units), blocks, first=True):
                x = layer(x, state)
        return unfold_patches(self.last(x, state), self.patch)


def interleaved(units: Chain, blocks: Sequence[nn.Module], first: bool) -> Iterator[nn.Module]:
    """Residual units in as many groups as there are blocks, a block ``first`` or last in each."""
    if not blocks:
        yield from units
    for group, block in enumerate(blocks):
        begin, end = (len(units) * number // len(blocks) for number in (group, group + 1))
        yield from [block, *units[begin:end]] if first else [*units[begin:end], block]


def attention_blocks(config: SEANetConfig, count: int) -> nn.ModuleList:
    """``count`` blocks for the frame rate of a network of this shape."""
    width, settings = config.channels[-1], config.attention
    return nn.ModuleList(
        CausalAttention(width, settings.heads, settings.window) for _ in range(count)
    )
