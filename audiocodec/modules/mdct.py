"""MDCT initialisation: encoder and decoder start as an MDCT and its inverse.

A codec with random weights spends most of a short training on learning a filterbank and its
inverse. Both are known. So the linear path through a fresh encoder (all but the residual units,
which start small) is an MDCT with a hop of one frame, and the decoder's is its inverse: audio
passes unchanged before the first step, and only the code is left to learn (docs/log.md,
2026-11-24).

A level whose columns stand for ``n`` samples carries the block's coordinates in an orthonormal
transform, low frequencies first, spread over the level's channels by a random isometry; a level
with fewer channels than that keeps the low frequencies. The remaining directions carry nothing at
first; they are connected at random, for the residual units to use.
"""

from itertools import accumulate, pairwise
from operator import mul
from typing import cast

import torch
from torch import Tensor, nn

from audiocodec.modules.conv import CausalConv1d, CausalConvTranspose1d
from audiocodec.modules.seanet import SPEECH_LEVEL, SEANetDecoder, SEANetEncoder
from audiocodec.modules.shape import SEANetConfig

SPARE_GAIN = 0.5
"""Size of the random connections, as a share of the size that would preserve a signal's level."""


@torch.no_grad()
def initialise_mdct(encoder: SEANetEncoder, decoder: SEANetDecoder, config: SEANetConfig) -> None:
    """Set the layers that lead from level to level, in place.

    With a ``lookahead`` frames overlap by half: the decoder knows block ``t - 1`` when it has the
    latents ``t - 1`` and ``t``. Without, frames are blocks side by side.
    """
    lengths = list(accumulate((config.patch, *config.strides), mul))
    frame = mdct_basis(lengths[-1]) if config.lookahead > 0 else block_basis(lengths[-1])
    bases = [*map(block_basis, lengths[:-1]), frame]
    initialise_encoder(encoder, spreads(bases, config.channels))
    widths = config.of_decoder().channels
    initialise_decoder(decoder, spreads(bases, widths), tap=max(0, config.lookahead - 1))


class Spread:
    """A level's transform and the isometry that spreads its coordinates over the channels."""

    def __init__(self, basis: Tensor, channels: int) -> None:
        rank = min(channels, len(basis))
        self.isometry = nn.init.orthogonal_(torch.empty(channels, rank, dtype=torch.float32))
        self.analysis = self.isometry @ basis[:rank]
        """``[channels, samples]``: samples of the block (or of two) to channels."""

    @property
    def rest(self) -> Tensor:
        """Projection ``[channels, channels]`` onto the directions that carry nothing."""
        return torch.eye(len(self.isometry), dtype=torch.float32) - self.isometry @ self.isometry.T


def spreads(bases: list[Tensor], channels: tuple[int, ...]) -> list[Spread]:
    """One for each level."""
    return [Spread(*both) for both in zip(bases, channels, strict=True)]


def initialise_encoder(encoder: SEANetEncoder, levels: list[Spread]) -> None:
    """Each level's analysis, read from the channels of the level before it."""
    set_weight(encoder.first.conv, levels[0].analysis.unsqueeze(2) / SPEECH_LEVEL)
    layers = cast(list[CausalConv1d], list(encoder.downsamples))
    for layer, (fine, coarse) in zip(layers, pairwise(levels), strict=True):
        blocks = coarse.analysis.unflatten(1, (-1, fine.analysis.shape[1]))
        set_weight(layer.conv, (blocks @ fine.analysis.T).transpose(1, 2), fine)
    top = levels[-1]
    set_weight(encoder.last.conv, top.isometry.T.unsqueeze(2), top)


def initialise_decoder(decoder: SEANetDecoder, levels: list[Spread], tap: int) -> None:
    """The transposed maps; ``tap`` is how many latents the decoded frame lies back."""
    top = levels[-1]
    set_weight(decoder.first.conv, top.isometry.unsqueeze(2), tap=tap)
    layers = cast(list[CausalConvTranspose1d], list(decoder.upsamples))
    for layer, (coarse, fine) in zip(layers, pairwise(reversed(levels)), strict=True):
        samples = fine.analysis.shape[1]
        halves = coarse.analysis.unflatten(1, (-1, layer.stride, samples))
        # [coarse, half, j, samples] -> [fine, j, coarse, half]; the first half belongs to the
        # newest latents, the second half to those before.
        weight = torch.einsum("chjn,fn->fjch", halves, fine.analysis).flatten(0, 1).flip(2)
        set_weight(layer.conv, weight, coarse)
    set_weight(decoder.last.conv, levels[0].analysis.T.unsqueeze(2) * SPEECH_LEVEL)


def set_weight(conv: nn.Conv1d, weight: Tensor, source: Spread | None = None, tap: int = 0) -> None:
    """Give ``conv`` the taps ``weight [out, in, taps]``, ending ``tap`` columns before the newest.

    Outputs or inputs that ``weight`` lacks stay as they were made, or silent.
    """
    full = torch.zeros_like(conv.weight)
    end = max(weight.shape[2], full.shape[2] - tap)
    outs, ins = min(len(full), len(weight)), min(full.shape[1], weight.shape[1])
    full[:outs, :ins, end - weight.shape[2] : end] = weight[:outs, :ins]
    if source is not None:
        full += SPARE_GAIN * torch.einsum("oik,ij->ojk", conv.weight, source.rest)
    silent = full.flatten(1).norm(dim=1) < 1e-4
    full[silent] = 0.01 * conv.weight[silent]
    conv.weight = full


def mdct_basis(length: int) -> Tensor:
    """The MDCT with a sine window, ``[length, 2 * length]``, orthonormal.

    Frames overlap by ``length`` samples and sum to the signal: aliasing in time cancels (Princen,
    Johnson and Bradley 1987).
    """
    samples = torch.arange(2 * length, dtype=torch.float64) + 0.5
    rows = torch.arange(length, dtype=torch.float64).unsqueeze(1) + 0.5
    window = torch.sin(torch.pi * samples / (2 * length))
    waves = torch.cos(torch.pi / length * (samples + length / 2) * rows)
    return (waves * window * (2 / length) ** 0.5).float()


def block_basis(length: int) -> Tensor:
    """The DCT-II of one block, ``[length, length]``, orthonormal, low frequencies first."""
    samples = torch.arange(length, dtype=torch.float64) + 0.5
    rows = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    waves = torch.cos(torch.pi / length * samples * rows) * (2 / length) ** 0.5
    waves[0] *= 0.5**0.5
    return waves.float()
