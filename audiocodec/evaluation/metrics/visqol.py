"""ViSQOL 3 in its speech mode: similarity of spectrograms as a mean opinion score (extra `visqol`).

Chinen et al. 2020, arXiv 2004.09584; here by visqol-python, a port whose weights are in its wheel.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from audiocodec.evaluation.metrics.registry import ScoreError
from audiocodec.evaluation.metrics.signal import SPEECH_RATE, Signal, resample_pair
from audiocodec.extras import import_extra

LEAST_SECONDS = 1.0


def visqol(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """MOS-LQO, 1 to 5, at 16 kHz.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz.

    Raises:
        ScoreError: less than 1 s, a silent signal, or samples that are not finite.
    """
    reconstruction, reference = resample_pair(reconstruction, reference, sample_rate)
    if len(reference) < LEAST_SECONDS * SPEECH_RATE:
        raise ScoreError("ViSQOL needs at least 1 s of audio")
    if not reconstruction.any():
        raise ScoreError("the reconstruction is silent")
    try:
        result = _load_model().measure_from_arrays(reference, reconstruction, SPEECH_RATE)
    except ValueError as error:
        raise ScoreError(f"ViSQOL has no score ({error})") from error
    if not np.isfinite(result.moslqo):
        raise ScoreError("ViSQOL has no score")
    return float(result.moslqo)


@lru_cache(maxsize=1)
def _load_model() -> Any:
    model = import_extra("visqol", "visqol", "ViSQOL").VisqolApi()
    with _without_native_messages():  # TensorFlow Lite says on stderr that it computes on the CPU
        model.create(mode="speech", use_lattice_model=True)
    return model


@contextlib.contextmanager
def _without_native_messages() -> Iterator[None]:
    """Discard what libraries write to the descriptor of stderr."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
