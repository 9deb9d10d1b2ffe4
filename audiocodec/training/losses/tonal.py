"""Tonal artefacts at the frame rate: lines that a decoder adds by repeating a pattern."""

import torch
from torch import Tensor

from audiocodec.spectral import hann
from audiocodec.training.losses.loss import Loss

LINES_PER_BAND = 10
MIN_HOP_LENGTH = 16
"""Samples in a frame; with fewer there are no lines at multiples of the frame rate."""


def tonal_loss(reconstruction: Tensor, reference: Tensor, hop_length: int) -> Tensor:
    """How much more power lies at multiples of the frame rate than half-way between them.

    A decoder that repeats a pattern in every frame adds lines there. Spectra of short windows do
    not resolve them, so the spectrum here is that of a whole clip ``[B, 1, T]``. The lines' share
    of the power at lines and half-way points is 1/2 for audio that is independent of the frames.
    The loss is the absolute difference between the shares of reconstruction and reference. Shares
    are averaged over the batch and over bands of ``LINES_PER_BAND`` lines, differences over bands.
    Its range is 0 to 1.
    """
    frames = reconstruction.shape[-1] // hop_length
    both = torch.cat([reconstruction, reference]).float()[:, 0, : frames * hop_length]
    spectrum = torch.fft.rfft(both * hann(both.shape[-1], both.dtype, both.device))
    power = spectrum.real.square() + spectrum.imag.square()
    power = power[:, :-2] + power[:, 1:-1] + power[:, 2:]  # a line is three bins wide
    lines = (hop_length - 1) // 2 - 1
    at, between = (
        power[:, first::frames][:, :lines] for first in (frames - 1, frames - 1 + frames // 2)
    )
    share = (at + 1e-12) / (at + between + 2e-12)
    shares = share.unflatten(0, (2, -1)).mean(dim=1)  # of reconstruction and reference
    bands = [band[0].mean() - band[1].mean() for band in shares.split(LINES_PER_BAND, dim=1)]
    return torch.stack(bands).abs().mean()


TONAL = Loss(
    tonal_loss,
    weight=0.0,
    description="lines at multiples of the frame rate",
    min_hop_length=MIN_HOP_LENGTH,
)
