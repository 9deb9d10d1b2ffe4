"""SI-SDR: scale-invariant signal-to-distortion ratio."""

import math

import numpy as np

from audiocodec.evaluation.metrics.signal import Signal, check_pair

LIMIT = 100.0  # dB: the mean over files stays finite if one reconstruction is perfect


def si_sdr(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), means removed.

    The score is limited to -100 to 100 dB. It does not depend on the sample rate.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz.

    Raises:
        ScoreError: the reference is silent or empty, or samples are not finite.
    """
    check_pair(reconstruction, reference)
    reconstruction = np.asarray(reconstruction, np.float64) - np.mean(reconstruction)
    reference = np.asarray(reference, np.float64) - np.mean(reference)
    target = reference * (np.dot(reconstruction, reference) / np.dot(reference, reference))
    distortion = reconstruction - target
    signal, noise = float(np.dot(target, target)), float(np.dot(distortion, distortion))
    if signal == 0:
        return -LIMIT
    if noise == 0:
        return LIMIT
    return float(np.clip(10 * math.log10(signal / noise), -LIMIT, LIMIT))
