"""What the formats share that write NumPy arrays, and the facts about an utterance as JSON."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Codes, Tokenised

TEXTS = ("speaker", "text", "split")


def described(row: Tokenised, settings: Settings) -> dict[str, Any]:
    """The facts about an utterance, without its codes."""
    return {
        "id": row.id,
        "num_samples": row.num_samples,
        "sample_rate": settings.sample_rate,
        **{name: getattr(row, name) for name in TEXTS},
        "fingerprint": settings.fingerprint,
    }


def from_description(facts: dict[str, Any], codes: Codes) -> Tokenised:
    """The utterance with these facts.

    Raises:
        KeyError: a fact is missing.
    """
    texts = {name: facts[name] for name in TEXTS}
    return Tokenised(facts["id"], codes, facts["num_samples"], **texts)


def npy_bytes(codes: Codes) -> bytes:
    """A ``.npy`` file with ``codes``."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(codes), allow_pickle=False)
    return stream.getvalue()
