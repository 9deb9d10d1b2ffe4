"""Delay: codebook k is k steps late, so the coarser codes of a frame are known before it."""

from __future__ import annotations

from typing import Any

from audiocodec.patterns.pattern import Pattern


class Delay(Pattern):
    """``F + K - 1`` steps. A code is predicted when the coarser codes of its frame are known.

    Copet et al. 2023, arXiv 2306.05284, section 2.2: nearly as good as flat in ``1 / K`` of the
    steps.
    """

    name = "delay"

    def steps(self, codebook: Any, frame: Any, num_codebooks: int, num_frames: int) -> Any:
        return frame + codebook
