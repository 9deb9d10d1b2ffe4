"""Coarse first: all frames of the first codebook, then all of the second, and so on."""

from __future__ import annotations

from typing import Any

from audiocodec.patterns.pattern import Pattern


class CoarseFirst(Pattern):
    """``K * F`` steps, in the order in which VALL-E predicts codebooks.

    Wang et al. 2023, "Neural codec language models are zero-shot text to speech synthesizers",
    arXiv 2301.02111, section 4.2; there the codes of one codebook, from the second on, are
    predicted at once.
    """

    name = "coarse_first"
    one_row = True
    needs_length = True

    def steps(self, codebook: Any, frame: Any, num_codebooks: int, num_frames: int) -> Any:
        return codebook * num_frames + frame
