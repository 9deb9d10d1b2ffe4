"""Integer logits to integer frequencies that sum to a power of two."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audiocodec.tokens.context.layer import Floats

Doubles = npt.NDArray[np.float64]
"""Holds integers up to 2^53 here."""


def to_frequencies(logits: Floats, table: Doubles, precision: int) -> Doubles:
    """Frequencies ``[N, size]``, integers of at least 1, whose rows sum to ``2**precision``.

    A logit that is ``d`` below the greatest of its row has the weight ``table[d]``. Each code gets
    1 and its share of what is left, rounded down; the most likely code (of equals the first) also
    gets the remainder. All of it is exact or one correctly rounded IEEE operation, so it is the
    same everywhere.

    Args:
        logits: integers ``[N, size]``.
        table: integers, falling, ``table[0] >= 1``.
    """
    rows = np.arange(len(logits))
    best = logits.argmax(axis=1)
    below = logits[rows, best][:, None] - logits
    np.minimum(below, np.float32(len(table) - 1), out=below)
    weights = table.take(below.astype(np.intp))
    left = float(2**precision - logits.shape[1])
    weights *= (left / weights.sum(axis=1))[:, None]
    np.floor(weights, out=weights)
    weights += 1.0
    weights[rows, best] += 2**precision - weights.sum(axis=1)
    return weights
