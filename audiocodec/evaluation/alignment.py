"""Remove the delay between a reconstruction and its reference."""

import math

import numpy as np

from audiocodec.evaluation.metrics.signal import Signal


def align(
    reconstruction: Signal, reference: Signal, sample_rate: int, max_seconds: float = 0.05
) -> tuple[Signal, Signal, int]:
    """Remove a delay of at most ``max_seconds`` in either direction.

    The lag is the position of the maximum of the cross-correlation. It is 0 unless the normalised
    correlation there exceeds that at 0 by 0.02. Otherwise a poor reconstruction without delay
    could be shifted by a pitch period.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1]; their lengths may differ.
        sample_rate: Hz.

    Returns:
        The parts of reconstruction and reference that overlap, of equal length, and the lag in
        samples, positive if the reconstruction is delayed.
    """
    size = min(len(reconstruction), len(reference))
    first, second = reconstruction[:size], reference[:size]
    energy = math.sqrt(float(np.dot(first, first)) * float(np.dot(second, second)))
    max_lag = min(int(max_seconds * sample_rate), size - 1)
    if max_lag < 1 or energy == 0 or not math.isfinite(energy):
        return first, second, 0
    padded = 1 << (size + max_lag).bit_length()
    spectrum = np.fft.rfft(first, padded) * np.conj(np.fft.rfft(second, padded))
    correlation = np.fft.irfft(spectrum, padded) / energy
    lags = np.arange(-max_lag, max_lag + 1)
    lag = int(lags[np.argmax(correlation[lags])])  # a negative index is a negative lag
    if correlation[lag] < correlation[0] + 0.02:
        lag = 0
    reconstruction, reference = reconstruction[max(lag, 0) :], reference[max(-lag, 0) :]
    size = min(len(reconstruction), len(reference))
    return reconstruction[:size], reference[:size], lag
