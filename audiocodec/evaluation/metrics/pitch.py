"""F0 of the reconstruction against that of the reference: error, gross errors, voicing errors."""

import numpy as np
from numpy.typing import NDArray

from audiocodec.evaluation.metrics.registry import ScoreError
from audiocodec.evaluation.metrics.signal import Signal, resample_pair
from audiocodec.evaluation.metrics.voicing import pitch_track

GROSS = 0.2  # relative error of F0 (Rabiner et al. 1976; Chu and Alwan 2009 use 20 %)


def f0_error(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Root mean square error of F0 in cents, of frames voiced in both, without gross errors.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz; F0 is estimated at 16 kHz (probabilistic YIN).

    Raises:
        ScoreError: the signals have no voiced frame in common, or samples are not finite.
    """
    ratio = _ratio(reconstruction, reference, sample_rate)
    cents = 1200 * np.log2(ratio[np.abs(ratio - 1) <= GROSS])
    if not len(cents):
        raise ScoreError("F0 is wrong by more than 20 % in every frame")
    return float(np.sqrt(np.mean(np.square(cents))))


def gross_pitch_error(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Frames voiced in both whose F0 is wrong by more than 20 %, in percent.

    Arguments and errors are those of :func:`f0_error`.
    """
    ratio = _ratio(reconstruction, reference, sample_rate)
    return 100 * float(np.mean(np.abs(ratio - 1) > GROSS))


def voicing_error(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Frames that are voiced in one of both signals only, in percent of all frames.

    Arguments are those of :func:`f0_error`.

    Raises:
        ScoreError: the reference is silent or empty, or samples are not finite.
    """
    first, second = _tracks(reconstruction, reference, sample_rate)
    return 100 * float(np.mean(np.isfinite(first) != np.isfinite(second)))


def _tracks(
    reconstruction: Signal, reference: Signal, sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """F0 ``[F]`` of both signals in Hz, NaN where they are unvoiced."""
    first, second = resample_pair(reconstruction, reference, sample_rate)
    return pitch_track(first), pitch_track(second)


def _ratio(reconstruction: Signal, reference: Signal, sample_rate: int) -> NDArray[np.float64]:
    """F0 of the reconstruction divided by that of the reference, of frames voiced in both."""
    first, second = _tracks(reconstruction, reference, sample_rate)
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        raise ScoreError("no frame is voiced in reconstruction and reference")
    ratio: NDArray[np.float64] = first[both] / second[both]
    return ratio
