"""Parallel: a step is a frame, and all of its codes are predicted at once."""

from __future__ import annotations

from typing import Any

from audiocodec.patterns.pattern import Pattern


class Parallel(Pattern):
    """``F`` steps. The codes of a frame are predicted as if they were independent.

    Copet et al. 2023, arXiv 2306.05284, section 2.2.
    """

    name = "parallel"

    def steps(self, codebook: Any, frame: Any, num_codebooks: int, num_frames: int) -> Any:
        return frame
