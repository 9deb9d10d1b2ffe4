"""Log-mel distance: how far two mel spectrograms are apart in dB."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from audiocodec.evaluation.metrics.signal import Signal, check_pair
from audiocodec.spectral import mel_from_magnitude, stft_magnitude


def log_mel_distance(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Mean absolute difference of two log-mel spectrograms in dB: 80 bands, 64 ms, every 16 ms.

    Magnitudes more than 80 dB below the reference's maximum are raised to that level, so the score
    does not depend on the common level of both signals.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz.

    Raises:
        ScoreError: the reference is silent or empty, or samples are not finite.
    """
    return float(log_mel_errors(reconstruction, reference, sample_rate).mean())


def log_mel_errors(
    reconstruction: Signal, reference: Signal, sample_rate: int
) -> NDArray[np.float64]:
    """:func:`log_mel_distance` of each window ``[F]``, ``log_mel_hop`` samples apart."""
    check_pair(reconstruction, reference)
    window_length = 4 * log_mel_hop(sample_rate)
    pair = torch.from_numpy(np.stack([reconstruction, reference]).astype(np.float64))
    magnitude = stft_magnitude(pair, window_length, window_length // 4)
    mel = mel_from_magnitude(magnitude, sample_rate, bands=80)
    reconstructed, original = mel.clamp_min(1e-4 * float(mel[1].max()))
    errors: NDArray[np.float64] = (20 * (reconstructed / original).log10()).abs().mean(0).numpy()
    return errors


def log_mel_hop(sample_rate: int) -> int:
    """Samples between windows: a quarter of the power of 2 that is nearest to 64 ms."""
    return int(2 ** round(math.log2(0.064 * sample_rate))) // 4
