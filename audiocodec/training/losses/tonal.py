"""Tonal artefacts: lines that a decoder adds by repeating a pattern, at the rate of any level."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec import ranks
from audiocodec.spectral import hann
from audiocodec.training.losses.loss import Loss

WINDOW_FRAMES = 8
"""Frames in a window, so that lines one frame rate apart are eight bins apart."""

MIN_HOP_LENGTH = 16
"""Samples in a frame; with fewer there are no lines at multiples of the frame rate."""


def tonal_loss(
    reconstruction: Tensor,
    reference: Tensor,
    periods: tuple[int, ...],
    batch_mean: Callable[[Tensor], Tensor] = ranks.mean,
) -> Tensor:
    """How much more power lies at multiples of a level's rate than half-way between lines.

    A decoder that repeats a pattern in every column of a level adds lines at the multiples of that
    level's rate: 50, 400 and 2,000 Hz in the bundled model. ``periods`` has the samples in a column
    of each level, longest first, each a multiple of the next; the first is a frame.

    The spectra are those of windows of ``WINDOW_FRAMES`` frames, a quarter of that apart, of clips
    ``[B, 1, T]``. A line's share of the power there and half-way to the lines beside it is 1/2 for
    audio that is independent of the frames, and the loss is the absolute difference between the
    shares of reconstruction and reference. Shares are averaged over batch and windows, whatever
    their level, so that pauses and noise count as speech does. Each line is compared by itself and
    belongs to the highest rate that it is a multiple of. Differences are averaged over the lines of
    each rate, then over rates: one line in eight weighs as much as the other seven. The range is 0
    to 1.
    """
    shares = line_shares(reconstruction, periods[0])
    changes = shares - line_shares(reference.detach(), periods[0])
    difference = batch_mean(changes.mean(dim=0)).abs()
    numbers = torch.arange(1, len(difference) + 1, device=difference.device)
    means, taken = [], torch.zeros_like(numbers, dtype=torch.bool)
    for period in reversed(periods):
        mine = (numbers % (periods[0] // period) == 0) & ~taken
        taken = taken | mine
        # A mean without indexing: which lines there are is known beforehand, and GPUs record this.
        if len(difference) >= periods[0] // period:
            means.append((difference * mine).sum() / mine.sum())
    return torch.stack(means).mean()


def line_shares(audio: Tensor, hop_length: int) -> Tensor:
    """Each line's share of the power at the line and half-way to its neighbours.

    Audio ``[B, 1, T]`` -> ``[B, L]``, a mean over windows, of the multiples of the frame rate from
    the first to the last that has a half-way point above it.
    """
    window = WINDOW_FRAMES * hop_length
    x = F.pad(audio.float()[:, 0], (0, max(0, window - audio.shape[-1])))
    spectrum = torch.fft.rfft(x.unfold(-1, window, window // 4) * hann(window, x.dtype, x.device))
    power = spectrum.real.square() + spectrum.imag.square()
    power = power[..., :-2] + power[..., 1:-1] + power[..., 2:]  # a line is three bins wide
    half_way = power[..., WINDOW_FRAMES // 2 - 1 :: WINDOW_FRAMES]
    at = power[..., WINDOW_FRAMES - 1 :: WINDOW_FRAMES]
    lines = min(at.shape[-1], half_way.shape[-1] - 1)
    between = (half_way[..., :lines] + half_way[..., 1 : lines + 1]) / 2
    share = (at[..., :lines] + 1e-12) / (at[..., :lines] + between + 2e-12)
    return share.mean(dim=1)


TONAL = Loss(
    tonal_loss,
    weight=0.0,
    description="lines at multiples of the rates of all levels",
    min_hop_length=MIN_HOP_LENGTH,
)
