"""Log-mel error and level by frequency band, of voiced frames."""

import numpy as np
import torch
from torch import Tensor

from audiocodec.evaluation.metrics.registry import ScoreError
from audiocodec.evaluation.metrics.signal import SPEECH_RATE, Signal, resample_pair
from audiocodec.evaluation.metrics.voicing import HOP, frames_of
from audiocodec.extras import import_extra
from audiocodec.spectral import mel_from_magnitude, stft_magnitude

WINDOW = 1024  # samples at 16 kHz: 64 ms
MEL_BANDS = 80


def band_error(
    reconstruction: Signal, reference: Signal, sample_rate: int, *, low: float, high: float
) -> float:
    """Mean absolute log-mel difference in dB of the mel bands centred in ``low`` to ``high`` Hz.

    80 mel bands at 16 kHz, 64 ms every 10 ms, of frames that are voiced in the reference.
    Magnitudes are raised to 80 dB below the reference's maximum, as for the log-mel distance.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate, low, high: Hz.

    Raises:
        ScoreError: the reference has no voiced frame, or samples are not finite.
    """
    spectra, voiced = _spectra(reconstruction, reference, sample_rate)
    mel = mel_from_magnitude(spectra, SPEECH_RATE, MEL_BANDS)
    mel = mel.clamp_min(1e-4 * float(mel[1].max()))[:, :, voiced]
    librosa = import_extra("librosa", "eval", "log-mel error by band")
    centres = librosa.mel_frequencies(MEL_BANDS + 2, fmin=0.0, fmax=SPEECH_RATE / 2)[1:-1]
    inside = torch.from_numpy((centres >= low) & (centres < high))
    reconstructed, original = mel[:, inside]
    return float((20 * (reconstructed / original).log10()).abs().mean())


def band_level(
    reconstruction: Signal, reference: Signal, sample_rate: int, *, low: float, high: float
) -> float:
    """Level of the reconstruction minus that of the reference in dB, from ``low`` to ``high`` Hz.

    The power of a band is a sum over the voiced frames. Arguments and errors are those of
    :func:`band_error`.
    """
    spectra, voiced = _spectra(reconstruction, reference, sample_rate)
    frequencies = torch.arange(spectra.shape[1]) * SPEECH_RATE / WINDOW
    inside = (frequencies >= low) & (frequencies < high)
    reconstructed, original = spectra[:, inside][:, :, voiced].square().sum(dim=(1, 2)).tolist()
    return float(10 * np.log10(reconstructed / original))


def _spectra(reconstruction: Signal, reference: Signal, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Magnitudes ``[2, N, F]`` of both signals, and the reference's voiced frames ``[F]``."""
    first, second = resample_pair(reconstruction, reference, sample_rate)
    voiced = frames_of(second, "voiced")
    if not voiced.any():
        raise ScoreError("the reference has no voiced frame")
    magnitude = stft_magnitude(torch.from_numpy(np.stack([first, second])), WINDOW, HOP)
    size = min(len(voiced), magnitude.shape[-1])
    return magnitude[..., :size], torch.from_numpy(voiced[:size].copy())
