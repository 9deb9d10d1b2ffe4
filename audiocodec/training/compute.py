"""How the networks of a training step are computed: precision, memory layout, compilation.

None of it changes what is trained, only how fast and how exactly. Which of it pays depends on the
machine: ``benchmarks/training_speed.py`` measures all of it in minutes (docs/training.md).
"""

from collections.abc import Callable
from typing import Literal

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.codec import Codec
from audiocodec.config import Config
from audiocodec.modules.conv import (
    CausalConv1d,
    CausalConvTranspose1d,
    StreamState,
    unfold_patches,
    with_context,
)
from audiocodec.training.losses.spectra import Magnitudes, magnitudes_and_log_mels

Precision = Literal["tf32", "bfloat16", "bfloat16_trunk"]
"""Of the networks: TF32 (on a CPU float32); bfloat16; or bfloat16 but for the first and the last
layer of encoder and decoder, which are in float32."""

Compiled = Literal["network", "spectra"]

MAX_COMPILED = 64
"""Variants of a function that are compiled: each window, with and without a gradient."""


class ComputeConfig(Config):
    """Ways to make a training step cheaper; see docs/training.md for what each gains."""

    channels_last: bool = pydantic.Field(
        False, description="convolutions of codec and discriminators with channels last in memory"
    )
    compile: tuple[Compiled, ...] = pydantic.Field(
        (), description="what torch.compile compiles: network, spectra; needs a C++ compiler"
    )


class TrainedConv1d(CausalConv1d):
    """A causal convolution with the memory layout and the precision that a step is to have."""

    channels_last: bool
    is_float32: bool

    def forward(self, x: Tensor, state: StreamState | None = None) -> Tensor:
        return _convolve(self, x, state)


class TrainedConvTranspose1d(CausalConvTranspose1d):
    """The same of an upsampling convolution."""

    channels_last: bool
    is_float32: bool

    def forward(self, x: Tensor, state: StreamState | None = None) -> Tensor:
        return unfold_patches(_convolve(self, x, state), self.stride)


def set_backends(device: torch.device, precision: Precision) -> None:
    """Let a GPU multiply in TF32 if ``precision`` says so, and choose its convolutions by trial."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True  # shapes stay the same from step to step


def prepare(
    codec: Codec, discriminators: nn.Module | None, precision: Precision, config: ComputeConfig
) -> None:
    """Change how the networks are computed. Their weights and the names of these stay."""
    network = (codec.encoder, codec.decoder)
    ends: list[nn.Module] = []
    if precision == "bfloat16_trunk":
        ends = [layer for part in network for layer in (part.first, part.last)]
    for layer in (layer for part in network for layer in part.modules()):
        kind = {
            CausalConv1d: TrainedConv1d,
            CausalConvTranspose1d: TrainedConvTranspose1d,
        }.get(type(layer))  # type: ignore[call-overload]
        is_float32 = any(layer is end for end in ends)
        if kind is not None and (config.channels_last or is_float32):
            layer.__class__ = kind
            layer.channels_last = config.channels_last  # type: ignore[assignment]
            layer.is_float32 = is_float32  # type: ignore[assignment]
    if discriminators is not None and config.channels_last:
        discriminators.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.compile:
        torch._dynamo.config.recompile_limit = MAX_COMPILED
        torch._functorch.config.donated_buffer = False  # one graph may serve two backward passes
    if "network" in config.compile:
        unscaled = torch.compile(codec.encoder.unscaled, dynamic=False)
        codec.encoder.unscaled = unscaled  # type: ignore[method-assign]
        codec.decoder.compile(dynamic=False)


def spectral_function(config: ComputeConfig) -> Magnitudes:
    """What makes magnitudes and mels of a spectrum; compiled, it is one pass over the memory."""
    if "spectra" not in config.compile:
        return magnitudes_and_log_mels
    compiled: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = torch.compile(
        magnitudes_and_log_mels, dynamic=False
    )
    return compiled


def _convolve(
    layer: TrainedConv1d | TrainedConvTranspose1d, x: Tensor, state: StreamState | None
) -> Tensor:
    """The layer's convolution of ``[B, C, T]``.

    PyTorch knows a layout with channels last for pictures alone: ``[B, C, 1, T]``.
    """
    conv = layer.conv
    (stride,), (dilation,) = conv.stride, conv.dilation
    device = x.device.type
    enabled = torch.is_autocast_enabled(device) and not layer.is_float32
    if layer.is_float32:
        x = x.float()
    with torch.autocast(device, torch.get_autocast_dtype(device), enabled):
        if not layer.channels_last:
            x = with_context(layer, x, state)
            return F.conv1d(x, conv.weight, conv.bias, stride, dilation=dilation)
        weight = conv.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        if state is None:  # padded as a picture, which keeps the layout
            x = F.pad(x.unsqueeze(2), (layer.context, 0))
        else:
            x = with_context(layer, x, state).unsqueeze(2)
        x = x.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight, conv.bias, (1, stride), dilation=(1, dilation)).squeeze(2)
