"""Word errors of a speech recogniser: Whisper through faster-whisper (extra `asr`).

``AUDIOCODEC_WHISPER`` names a folder with a Whisper model in CTranslate2's format: ``model.bin``,
``config.json``, ``tokenizer.json`` and ``vocabulary.json``. Nothing is downloaded.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics.registry import ScoreError
from audiocodec.evaluation.metrics.selection import named_folder
from audiocodec.evaluation.metrics.signal import Signal, resample_pair
from audiocodec.extras import import_extra

VARIABLE = "AUDIOCODEC_WHISPER"
FILES = ("model.bin", "config.json", "tokenizer.json")


def word_errors(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Word error rate in percent of the reconstruction's transcript.

    The truth is the transcript of the reference by the same model, in the language found there.
    The search has a beam of 5 and temperature 0.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz; the recogniser works at 16 kHz.

    Raises:
        CodecError: ``AUDIOCODEC_WHISPER`` names no folder with a model.
        ScoreError: no words are recognised in the reference, or samples are not finite.
    """
    first, second = resample_pair(reconstruction, reference, sample_rate)
    truth, language = _transcribe(np.asarray(second, np.float32).tobytes(), None)
    text, _ = _transcribe(np.asarray(first, np.float32).tobytes(), language)
    return word_error_rate(text, truth)


def word_error_rate(text: str, truth: str) -> float:
    """Substituted, deleted and inserted words of ``text``, in percent of the words of ``truth``.

    Case and punctuation do not count. It can exceed 100.

    Raises:
        ScoreError: ``truth`` has no words.
    """
    words = split_words(truth)
    if not words:
        raise ScoreError("no words are recognised in the reference")
    return 100 * edit_distance(split_words(text), words) / len(words)


def split_words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation other than inner apostrophes."""
    return re.findall(r"\w+(?:'\w+)*", text.lower().replace("\u2019", "'"))


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """The fewest substitutions, deletions and insertions between two sequences (Levenshtein)."""
    row = list(range(len(second) + 1))
    for above, one in enumerate(first, start=1):
        diagonal, row[0] = row[0], above
        for place, other in enumerate(second, start=1):
            best = min(row[place] + 1, row[place - 1] + 1, diagonal + (one != other))
            diagonal, row[place] = row[place], best
    return row[-1]


@lru_cache(maxsize=4)
def _transcribe(samples: bytes, language: str | None) -> tuple[str, str]:
    """Text and language of float32 samples at 16 kHz."""
    model = _load_model(named_folder(VARIABLE, "word errors"))
    segments, info = model.transcribe(
        np.frombuffer(samples, np.float32),
        language=language,
        beam_size=5,
        temperature=0.0,
        condition_on_previous_text=False,
    )
    return " ".join(segment.text for segment in segments), info.language


@lru_cache(maxsize=1)
def _load_model(folder: str) -> Any:
    """The model of a folder, in int8 on one CPU thread."""
    for name in FILES:
        if not (Path(folder) / name).is_file():
            raise CodecError(
                f"{VARIABLE}={folder}: has no {name}; name a Whisper model in CTranslate2's format"
            )
    package = import_extra("faster_whisper", "asr", "word errors")
    return package.WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1)
