"""The scores of one file, and the mean over files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from audiocodec.extras import import_extra


@dataclass
class ScoredFile:
    """The scores of one reconstruction against its reference.

    ``scores`` has a score for each metric. If the file has no score, ``reasons`` has the reason.
    """

    file: str
    seconds: float
    channels: int
    lag_samples: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Row(ScoredFile):
    """One file at one number of codebooks.

    Bitrates and real-time factors (seconds of computing per second of audio) are per channel.
    ``payload_kbps`` counts the codes in the token file, ``file_kbps`` all bytes of the token file.
    They are None for a file without audio.
    """

    num_codebooks: int
    payload_kbps: float | None = None
    file_kbps: float | None = None
    encode_factor: float | None = None
    decode_factor: float | None = None


@dataclass(frozen=True)
class Mean:
    """A mean over ``count`` files and half its 95 % confidence interval (Student's t)."""

    mean: float
    ci95: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean | None:
        """The mean of ``values``, or None if there are none. One value has no interval."""
        if not values:
            return None
        if len(values) == 1:
            return cls(float(values[0]), None, 1)
        error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        special = import_extra("scipy.special", "eval", "a confidence interval")
        quantile = float(special.stdtrit(len(values) - 1, 0.975))
        return cls(float(np.mean(values)), quantile * error, len(values))
