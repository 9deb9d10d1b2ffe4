"""STOI: short-time objective intelligibility."""

import warnings

from audiocodec.evaluation.metrics.registry import ScoreError
from audiocodec.evaluation.metrics.signal import SPEECH_RATE, Signal, resample_pair


def stoi(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011, not extended), about 0 to 1.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz.

    Raises:
        ScoreError: less than 0.4 s of speech without the pauses, or samples that are not finite.
    """
    import pystoi

    reconstruction, reference = resample_pair(reconstruction, reference, sample_rate)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(reference, reconstruction, SPEECH_RATE, extended=False))
        except (RuntimeWarning, ValueError, IndexError) as error:
            raise ScoreError("STOI needs at least 0.4 s of speech") from error
