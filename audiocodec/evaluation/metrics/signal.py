"""Checks and resampling that several metrics share."""

import numpy as np
import soxr
from numpy.typing import NDArray

from audiocodec.evaluation.metrics.registry import ScoreError

Signal = NDArray[np.floating]  # [T] in [-1, 1]

SPEECH_RATE = 16_000  # Hz, the sample rate that PESQ-WB, STOI and DistillMOS are defined at


def check_pair(reconstruction: Signal, reference: Signal) -> None:
    """Check that signals ``[T]`` can be compared.

    Raises:
        ScoreError: lengths differ, a sample is not finite, or the reference is silent or empty.
    """
    if len(reconstruction) != len(reference):
        raise ScoreError(
            f"the reconstruction has {len(reconstruction)} samples, the reference {len(reference)}"
        )
    if not np.isfinite(reconstruction).all() or not np.isfinite(reference).all():
        raise ScoreError("a signal holds NaN or infinite samples")
    if len(reference) == 0 or np.ptp(reference) == 0:
        raise ScoreError("the reference is silent")


def resample_pair(
    reconstruction: Signal, reference: Signal, sample_rate: int
) -> tuple[Signal, Signal]:
    """Both signals ``[T]`` as float64 at :data:`SPEECH_RATE`.

    Raises:
        ScoreError: as :func:`check_pair`, or nothing is left at that rate.
    """
    check_pair(reconstruction, reference)
    reconstruction = np.asarray(reconstruction, np.float64)
    reference = np.asarray(reference, np.float64)
    if sample_rate != SPEECH_RATE:
        reconstruction = soxr.resample(reconstruction, sample_rate, SPEECH_RATE, "HQ")
        reference = soxr.resample(reference, sample_rate, SPEECH_RATE, "HQ")
    if len(reference) == 0:
        raise ScoreError("too short to score")
    return reconstruction, reference
