"""A causal high-pass in front of the encoder: offsets, mains hum and rumble cost no bits.

A Butterworth filter of second order, by the bilinear transform (Oppenheim and Schafer, section
7.2), as a convolution with its impulse response, which is cut off after two periods of the corner
frequency. So it streams like every other layer, and its output does not depend on the chunks.

The past of a signal is its first sample, not silence: an offset would be a step there, which takes
two periods to decay. A constant does not pass, so the first sample is subtracted from all.

Shapes: ``B`` batch, ``T`` samples, ``P`` samples in a block.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.modules.conv import (
    StreamedLayer,
    StreamState,
    convolve_with,
    fold_patches,
    unfold_patches,
)

MAX_BLOCK = 32
"""Samples of a block. A convolution of one channel would be slow; of blocks it is not."""
DECAY_PERIODS = 2.0
"""Length of the impulse response in periods of the corner frequency: 9 time constants."""


class HighPass(StreamedLayer):
    """Audio ``[B, 1, T]`` -> the same without what is below ``corner`` Hz (-3 dB there).

    In the state, two columns come before those of the signal: one that is 1 once the signal has
    begun, and its first sample. So zeros are the state of a new stream, as for other layers.
    """

    kernel: Tensor

    def __init__(self, corner: float, sample_rate: int, hop_length: int) -> None:
        super().__init__()
        self.block = max(n for n in range(1, MAX_BLOCK + 1) if hop_length % n == 0)
        length = math.ceil(DECAY_PERIODS * sample_rate / corner)
        blocks = math.ceil(length / self.block)
        self.in_channels, self.context = self.block, 2 + blocks
        taps = highpass_taps(corner, sample_rate, blocks * self.block)
        self.register_buffer("kernel", block_kernel(taps, self.block))

    def forward(self, audio: Tensor, state: StreamState | None = None) -> Tensor:
        blocks = fold_patches(audio, self.block)
        if state is None:
            signal = F.pad(blocks - audio[..., :1], (self.context - 2, 0))
        else:
            past = state.columns.get(self.name)
            if past is None:
                past = blocks.new_zeros(len(blocks), self.in_channels, self.context)
            begun, held = past[:, :1, :1], past[:, :1, 1:2]
            first = torch.where(begun > 0, held, audio[..., :1])
            signal = torch.cat([past[..., 2:], blocks - first], dim=-1)
            start = torch.cat([torch.ones_like(first), first], dim=-1)
            newest = signal[..., signal.shape[-1] - self.context + 2 :]
            state.columns[self.name] = torch.cat(
                [start.expand(-1, self.in_channels, -1), newest], dim=-1
            )
        return unfold_patches(convolve_with(signal, self.kernel), self.block)


def block_kernel(taps: Tensor, block: int) -> Tensor:
    """Taps ``[k P]`` -> ``[P out, P in, k + 1]``: the same filter of blocks of ``P`` samples.

    Output ``p`` of a block is the sum of ``taps[j P + p - q]`` times input ``q`` of ``j`` blocks
    before.
    """
    padded = F.pad(taps, (block - 1, block)).flip(0)
    rows = padded.unfold(0, len(taps) + block, 1)[:block].flip(0)
    return rows.unflatten(1, (-1, block)).transpose(1, 2).contiguous()


def highpass_taps(corner: float, sample_rate: int, length: int) -> Tensor:
    """The impulse response, float32 ``[length]``, whose sum is 0: an offset vanishes exactly."""
    warped = math.tan(math.pi * corner / sample_rate)
    scale = 1 / (1 + math.sqrt(2) * warped + warped**2)
    feedback = 2 * (warped**2 - 1) * scale, (1 - math.sqrt(2) * warped + warped**2) * scale
    inputs = [scale, -2 * scale, scale, *[0.0] * (length - 3)]
    response = [0.0, 0.0]
    for value in inputs:
        response.append(value - feedback[0] * response[-1] - feedback[1] * response[-2])
    taps = torch.tensor(response[2:], dtype=torch.float64)
    return (taps - taps.mean()).float()
