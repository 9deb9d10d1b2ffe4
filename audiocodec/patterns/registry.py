"""Every pattern by its name."""

from __future__ import annotations

from audiocodec.errors import CodecError
from audiocodec.patterns.coarse_first import CoarseFirst
from audiocodec.patterns.delay import Delay
from audiocodec.patterns.flat import Flat
from audiocodec.patterns.parallel import Parallel
from audiocodec.patterns.pattern import Pattern

PATTERNS: dict[str, Pattern] = {
    "flat": Flat(),
    "parallel": Parallel(),
    "delay": Delay(),
    "coarse_first": CoarseFirst(),
}
"""A pattern has no state, so there is one object of each."""


def find_pattern(name: str) -> Pattern:
    """The pattern called ``name``.

    Raises:
        CodecError: there is none.
    """
    if name not in PATTERNS:
        raise CodecError(f"no pattern `{name}`; there are {', '.join(PATTERNS)}")
    return PATTERNS[name]
