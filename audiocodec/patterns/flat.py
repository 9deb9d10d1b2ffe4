"""Flat: frame by frame, the codes of a frame one after the other."""

from __future__ import annotations

from typing import Any

from audiocodec.patterns.pattern import Pattern


class Flat(Pattern):
    """Every code is predicted from all codes before it, in ``K * F`` steps.

    Copet et al. 2023, "Simple and controllable music generation", arXiv 2306.05284, section 2.2.
    """

    name = "flat"
    one_row = True

    def steps(self, codebook: Any, frame: Any, num_codebooks: int, num_frames: int) -> Any:
        return frame * num_codebooks + codebook
