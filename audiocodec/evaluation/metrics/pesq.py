"""PESQ wideband: perceptual evaluation of speech quality."""

import math

import numpy as np

from audiocodec.evaluation.metrics.registry import ScoreError
from audiocodec.evaluation.metrics.signal import SPEECH_RATE, Signal, resample_pair

SEGMENT_SECONDS = 20


def pesq_wb(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """PESQ wideband, MOS-LQO (ITU-T P.862.2), about 1 to 4.64, at 16 kHz.

    The ITU's program holds at most 50 utterances and overruns its memory beyond them. An utterance
    and its pause last at least 0.4 s. So a signal longer than 20 s is split into segments of equal
    length, and the score is the mean over the segments with speech.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz.

    Raises:
        ScoreError: less than 0.25 s, no speech, a silent reconstruction, or samples that are not
            finite.
    """
    import pesq

    reconstruction, reference = resample_pair(reconstruction, reference, sample_rate)
    segments = max(1, math.ceil(len(reference) / (SEGMENT_SECONDS * SPEECH_RATE)))
    scores = []
    for reconstructed, original in zip(
        np.array_split(reconstruction, segments), np.array_split(reference, segments), strict=True
    ):
        if not reconstructed.any() and original.any():  # PESQ would divide by zero
            raise ScoreError("the reconstruction is silent")
        try:
            scores.append(float(pesq.pesq(SPEECH_RATE, original, reconstructed, "wb")))
        except pesq.NoUtterancesError:
            continue
        except (pesq.BufferTooShortError, ValueError) as error:
            raise ScoreError("PESQ needs at least 0.25 s of audio") from error
    if not scores:
        raise ScoreError("PESQ finds no speech")
    return float(np.mean(scores))
