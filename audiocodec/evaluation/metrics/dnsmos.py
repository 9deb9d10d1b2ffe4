"""DNSMOS: networks that predict what listeners say of noisy speech (extra `dnsmos`).

They were trained on the outputs of noise suppressors (Reddy et al. 2022, arXiv 2110.01763), so they
tell noise and its remains well, and say little of which speaker or which words are heard.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from audiocodec.evaluation.metrics.registry import ScoreError
from audiocodec.evaluation.metrics.signal import SPEECH_RATE, Signal
from audiocodec.extras import import_extra, stand_in

LEAST_SECONDS = 0.25
MOST_SCORES = 256
_SCORES: dict[bytes, dict[str, float]] = {}  # by the signal's hash: the metrics are of one run


def dnsmos(reconstruction: Signal, reference: Signal, sample_rate: int, *, score: str) -> float:
    """A mean opinion score, 1 to 5, of windows of 9 s; on the CPU at 16 kHz.

    Only the reconstruction is used. What is shorter than 9 s is repeated.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz.
        score: of P.835 ``ovrl_mos`` (overall), ``sig_mos`` (speech) or ``bak_mos`` (background),
            or ``p808_mos``.

    Raises:
        ScoreError: less than 0.25 s, or a silent reconstruction.
    """
    if len(reconstruction) < LEAST_SECONDS * sample_rate or not np.any(reconstruction):
        raise ScoreError("DNSMOS needs at least 0.25 s of audio")
    audio = np.asarray(reconstruction, np.float32)
    if sample_rate != SPEECH_RATE:
        audio = soxr.resample(audio, sample_rate, SPEECH_RATE, "HQ")
    key = hashlib.sha256(audio.tobytes()).digest()
    if key not in _SCORES:
        while len(_SCORES) >= MOST_SCORES:
            _SCORES.pop(next(iter(_SCORES)))
        _SCORES[key] = _load_model()(audio.clip(-1, 1), SPEECH_RATE, False)
    return float(_SCORES[key][score])


@lru_cache(maxsize=1)
def _load_model() -> Any:
    """The networks, each on one thread; their weights are part of the package speechmos."""
    onnxruntime = import_extra("onnxruntime", "dnsmos", "DNSMOS")
    with stand_in("requests", session=None):  # speechmos imports it without need
        package = import_extra("speechmos.dnsmos", "dnsmos", "DNSMOS")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    folder = Path(str(package.__file__)).with_name("dnsmos_models")
    model = package.DNSMOS.__new__(package.DNSMOS)  # its own sessions take all cores
    model.onnx_sess = onnxruntime.InferenceSession(folder / "sig_bak_ovr.onnx", options)
    model.p808_onnx_sess = onnxruntime.InferenceSession(folder / "model_v8.onnx", options)
    return model
