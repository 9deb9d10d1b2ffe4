"""Speaker similarity of reconstruction and reference (extra `speaker`)."""

from functools import lru_cache
from importlib.metadata import distribution
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.evaluation.metrics.registry import ScoreError
from audiocodec.evaluation.metrics.signal import SPEECH_RATE, Signal, resample_pair
from audiocodec.extras import import_extra, stand_in

LEAST_SECONDS = 0.5


def speaker_similarity(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Cosine similarity of the speaker embeddings of both signals, 0 to 1.

    The embeddings are those of Resemblyzer: an LSTM trained with the GE2E loss (Wan et al. 2018,
    arXiv 1710.10467), on the CPU at 16 kHz. Its preprocessing raises quiet audio to -30 dBFS and
    removes long pauses. Two utterances of one speaker have about 0.85 to 0.9, of two speakers 0.5
    to 0.7.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz.

    Raises:
        ScoreError: less than 0.5 s of speech is found, or samples are not finite.
    """
    first, second = map(_embed, resample_pair(reconstruction, reference, sample_rate))
    return float(np.dot(first, second))


def _embed(signal: Signal) -> NDArray[np.float32]:
    """The embedding ``[256]`` of ``signal [T]`` at 16 kHz, of length 1."""
    package, encoder = load_encoder()
    audio = np.asarray(signal, np.float32)
    if not audio.any():
        raise ScoreError("the reconstruction is silent")
    speech = package.preprocess_wav(audio.clip(-1, 1))
    if len(speech) < LEAST_SECONDS * SPEECH_RATE:
        raise ScoreError("speaker similarity needs at least 0.5 s of speech")
    embedding: NDArray[np.float32] = encoder.embed_utterance(speech)
    return embedding


@lru_cache(maxsize=1)
def load_encoder() -> tuple[Any, Any]:
    """The package resemblyzer and its encoder; the weights are part of the package.

    Raises:
        CodecError: resemblyzer is not installed.
    """
    # resemblyzer imports webrtcvad, which asks pkg_resources for its own version. setuptools 82
    # removed that module.
    with stand_in("pkg_resources", get_distribution=distribution):
        package = import_extra("resemblyzer", "speaker", "speaker similarity")
    return package, package.VoiceEncoder("cpu", verbose=False)
