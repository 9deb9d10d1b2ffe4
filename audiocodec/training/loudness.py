"""How much louder or softer each band of a reconstruction is than it should be: a loss.

Its structure is that of ITU-T P.862 (PESQ), as far as it matters to a gradient; its bands,
threshold and loudness are the published psychoacoustics behind that. It is not PESQ: frames are not
aligned, no frame is capped, the worst frames do not count for all. A frame's disturbance here
correlates with the standard's at .96 (docs/log.md, 2026-11-25).

Shapes: ``B`` batch, ``T`` samples, ``N`` frequency bins, ``M`` Bark bands, ``F`` frames.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.spectral import stft

WINDOW_SECONDS = 0.032
BAND_WIDTH = 0.45
"""Bark, or one bin of the spectrum where that is wider."""

PLAYED_DB = 89.0
"""Level, in dB SPL, at which a clip is played, whatever level it has."""

QUIETEST_POWER = 1e-6
"""Mean square that a clip is taken to have at least, so that no noise is played at full level."""

HIGH_PASS_HERTZ = 120.0
ZWICKER_POWER = 0.23
SONES = 0.1866
DEAD_ZONE = 0.25
"""A change of loudness below this share of the softer of both is inaudible (P.862)."""

ADDED_SHARE = 0.2
"""Weight of what was added beside all changes, as a share of P.862's: there it is capped in every
loud frame of a codec of low bitrate, so that it would weigh nothing at all."""


class BarkBands(NamedTuple):
    """The ear's bands over one STFT."""

    filters: Tensor
    """``[M, N]``: power per bin to power per Bark."""
    widths: Tensor
    """``[M, 1]``, Bark."""
    threshold: Tensor
    """``[M, 1]``: power in quiet that is just audible, as 10 ** (dB SPL / 10)."""


def loudness_loss(reconstruction: Tensor, reference: Tensor, sample_rate: int) -> Tensor:
    """Disturbance of ``[B, 1, T]``, about what it takes from 4.5 in a raw PESQ score; a scalar.

    ``.1 D + ADDED_SHARE * .0309 A`` (P.862's ``4.5 - .1 D - .0309 A``): root-mean-squares over a
    clip's frames of the symmetric disturbance ``D`` and of what was added, ``A``; batch mean.
    """
    changed, added = disturbances(reconstruction.squeeze(1), reference.squeeze(1), sample_rate)
    return (0.1 * _rms(changed) + ADDED_SHARE * 0.0309 * _rms(added)).mean()


def disturbances(
    reconstruction: Tensor, reference: Tensor, sample_rate: int
) -> tuple[Tensor, Tensor]:
    """``[B, T]`` -> symmetric and added disturbance of each frame, ``[B, F]``, not capped."""
    window = 2 ** round(math.log2(WINDOW_SECONDS * sample_rate))
    both = stft(torch.cat([reconstruction, reference]).float(), window, window // 2)
    power = both.real.square() + both.imag.square()
    bands = bark_bands(sample_rate, window, power.dtype, power.device)
    made, wanted = (bands.filters @ power).chunk(2)

    # Half a Hann window's energy, 3/16 of its length, times the length: a mean square, one-sided.
    one = window * window * 3 / 16
    total = power[len(reference) :].sum(dim=1).mean(dim=-1).clamp(min=QUIETEST_POWER * one)
    gain = (10 ** (PLAYED_DB / 10) / total)[:, None, None]
    made, wanted = made * gain, wanted * gain
    power_made, power_wanted = _audible(made, bands), _audible(wanted, bands)
    made = made * ((power_wanted + 5e3) / (power_made + 5e3)).clamp(3e-4, 5.0)

    loud, wanted_loud = _loudness(made, bands), _loudness(wanted, bands)
    change = loud - wanted_loud
    audible = change.sign() * F.relu(change.abs() - DEAD_ZONE * torch.minimum(loud, wanted_loud))
    width = bands.widths.sum()
    changed = ((audible * bands.widths).square().sum(dim=1) / width + 1e-8).sqrt() * width
    ratio = ((made + 50) / (wanted + 50)) ** 1.2
    weight = ratio.clamp(max=12.0).where(ratio >= 3, 0.0)
    added = ((audible * weight).abs() * bands.widths).sum(dim=1)
    softer_counts_more = ((power_wanted.squeeze(1) + 1e5) / 1e7) ** 0.04
    return changed / softer_counts_more, added / softer_counts_more


@lru_cache(maxsize=8)
def bark_bands(
    sample_rate: int, window: int, dtype: torch.dtype, device: torch.device
) -> BarkBands:
    """Bands of ``BAND_WIDTH`` or one bin, without 0 Hz and softened below ``HIGH_PASS_HERTZ``.

    Critical-band rate: Traunmueller 1990. Threshold in quiet: Terhardt 1979.
    """
    with torch.inference_mode(False):
        step = sample_rate / window
        hertz = torch.arange(1, window // 2 + 1, dtype=torch.float64) * step
        rate, width = bark(hertz), bark(hertz + step / 2) - bark(hertz - step / 2)
        band = ((rate - rate[0]) / BAND_WIDTH).floor().long().unique(return_inverse=True)[1]
        count = int(band.max()) + 1
        widths = torch.zeros(count, dtype=torch.float64).index_add(0, band, width)
        filters = torch.zeros(count, window // 2 + 1, dtype=torch.float64)
        passed = hertz**4 / (hertz**4 + HIGH_PASS_HERTZ**4)
        filters[band, torch.arange(1, window // 2 + 1)] = passed / widths[band]
        khz = torch.zeros(count, dtype=torch.float64).index_add(0, band, hertz) / 1000
        khz = khz / torch.bincount(band)
        quiet = 3.64 * khz**-0.8 - 6.5 * torch.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
        columns = widths[:, None], 10 ** (quiet[:, None] / 10)
        return BarkBands(*(x.to(device, dtype) for x in (filters, *columns)))


def bark(hertz: Tensor) -> Tensor:
    """Critical-band rate, in Bark."""
    return 26.81 * hertz / (1960 + hertz) - 0.53


def _loudness(power: Tensor, bands: BarkBands) -> Tensor:
    """Zwicker's, in sones per Bark: ``[B, M, F]`` -> ``[B, M, F]``, 0 below the threshold."""
    excitation = 0.5 + 0.5 * (power / bands.threshold).clamp(min=1)
    return SONES * (bands.threshold / 0.5) ** ZWICKER_POWER * (excitation**ZWICKER_POWER - 1)


def _audible(power: Tensor, bands: BarkBands) -> Tensor:
    """Power above the threshold: ``[B, M, F]`` -> ``[B, 1, F]``."""
    return (power * bands.widths).where(power > bands.threshold, 0.0).sum(dim=1, keepdim=True)


def _rms(frames: Tensor) -> Tensor:
    return (frames.square().mean(dim=-1) + 1e-8).sqrt()
