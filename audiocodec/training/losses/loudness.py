"""Difference in loudness between reconstruction and reference in Bark bands.

The structure is that of ITU-T P.862 (PESQ), as far as it matters to a gradient. Bands, threshold
and loudness are those of the psychoacoustic literature that P.862 is based on. It is not PESQ:
frames are not aligned or capped, and all frames count, not the worst ones alone. The disturbance of
a frame has a correlation of 0.96 with that of the standard (docs/log.md, 2026-11-25).

Shapes: ``B`` batch, ``T`` samples, ``N`` frequency bins, ``M`` Bark bands, ``F`` frames.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.spectral import stft
from audiocodec.training.losses.loss import Loss

WINDOW_SECONDS = 0.032
BAND_WIDTH = 0.45
"""Width of a band, in Bark. A band is at least one bin of the spectrum wide."""

PLAYED_DB = 89.0
"""Playback level in dB SPL. Every clip is scaled to it."""

QUIETEST_POWER = 1e-6
"""Lower bound on the mean square of a clip, so that faint noise is not scaled to full level."""

HIGH_PASS_HERTZ = 120.0
ZWICKER_POWER = 0.23
SONES = 0.1866
DEAD_ZONE = 0.25
"""A change of loudness below this share of the smaller loudness is inaudible (P.862)."""

ADDED_SHARE = 0.2
"""Weight of the added disturbance, as a share of its weight in P.862. P.862 caps it in every loud
frame of a low-bitrate codec, where it then has no gradient."""


class BarkBands(NamedTuple):
    """Bark bands of one STFT."""

    filters: Tensor
    """``[M, N]``: power per bin to power per Bark."""
    widths: Tensor
    """``[M, 1]``, Bark."""
    threshold: Tensor
    """``[M, 1]``: threshold in quiet, as the power 10 ** (dB SPL / 10)."""


def loudness_loss(reconstruction: Tensor, reference: Tensor, sample_rate: int) -> Tensor:
    """Disturbance of audio ``[B, 1, T]``: about 4.5 minus the raw PESQ score. A scalar.

    ``0.1 * D + ADDED_SHARE * 0.0309 * A``, where P.862 has ``4.5 - 0.1 * D - 0.0309 * A``. ``D`` is
    the symmetric and ``A`` the added (asymmetric) disturbance, each a root mean square over the
    frames of a clip. The result is a mean over the batch.
    """
    changed, added = disturbances(reconstruction.squeeze(1), reference.squeeze(1), sample_rate)
    return (0.1 * _rms(changed) + ADDED_SHARE * 0.0309 * _rms(added)).mean()


def disturbances(
    reconstruction: Tensor, reference: Tensor, sample_rate: int
) -> tuple[Tensor, Tensor]:
    """``[B, T]`` -> symmetric and added disturbance of each frame, ``[B, F]`` each, not capped."""
    window = 2 ** round(math.log2(WINDOW_SECONDS * sample_rate))
    power, reference_power = (_power(x, window) for x in (reconstruction, reference.detach()))
    bands = bark_bands(sample_rate, window, power.dtype, power.device)
    reconstruction_bands, reference_bands = bands.filters @ power, bands.filters @ reference_power

    # The power of a mean square of 1: half the energy of a Hann window, times its length.
    one = window * window * 3 / 16
    total = reference_power.sum(dim=1).mean(dim=-1).clamp(min=QUIETEST_POWER * one)
    gain = (10 ** (PLAYED_DB / 10) / total)[:, None, None]
    reconstruction_bands, reference_bands = reconstruction_bands * gain, reference_bands * gain
    audible_power = _audible(reference_bands, bands)
    frame_gain = (audible_power + 5e3) / (_audible(reconstruction_bands, bands) + 5e3)
    frame_gain = frame_gain.clamp(3e-4, 5.0)
    reconstruction_bands = reconstruction_bands * frame_gain

    reconstruction_loudness = _loudness(reconstruction_bands, bands)
    reference_loudness = _loudness(reference_bands, bands)
    change = reconstruction_loudness - reference_loudness
    inaudible = DEAD_ZONE * torch.minimum(reconstruction_loudness, reference_loudness)
    audible = change.sign() * F.relu(change.abs() - inaudible)
    width = bands.widths.sum()
    changed = ((audible * bands.widths).square().sum(dim=1) / width + 1e-8).sqrt() * width
    ratio = ((reconstruction_bands + 50) / (reference_bands + 50)) ** 1.2
    weight = ratio.clamp(max=12.0).where(ratio >= 3, 0.0)
    added = ((audible * weight).abs() * bands.widths).sum(dim=1)
    level = ((audible_power.squeeze(1) + 1e5) / 1e7) ** 0.04  # quiet frames count more
    return changed / level, added / level


@lru_cache(maxsize=8)
def bark_bands(
    sample_rate: int, window: int, dtype: torch.dtype, device: torch.device
) -> BarkBands:
    """Bands of ``BAND_WIDTH``, without 0 Hz and attenuated below ``HIGH_PASS_HERTZ``.

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
    """Zwicker's loudness in sones per Bark, 0 below the threshold: ``[B, M, F]``."""
    excitation = 0.5 + 0.5 * (power / bands.threshold).clamp(min=1)
    return SONES * (bands.threshold / 0.5) ** ZWICKER_POWER * (excitation**ZWICKER_POWER - 1)


def _audible(power: Tensor, bands: BarkBands) -> Tensor:
    """Power above the threshold: ``[B, M, F]`` -> ``[B, 1, F]``."""
    return (power * bands.widths).where(power > bands.threshold, 0.0).sum(dim=1, keepdim=True)


def _power(audio: Tensor, window: int) -> Tensor:
    """Power spectra of ``[B, T]``: ``[B, N, F]``."""
    spectrum = stft(audio, window, window // 2)
    return spectrum.real.square() + spectrum.imag.square()


def _rms(frames: Tensor) -> Tensor:
    return (frames.square().mean(dim=-1) + 1e-8).sqrt()


LOUDNESS = Loss(loudness_loss, weight=0.0, description="loudness in Bark bands, after P.862")
