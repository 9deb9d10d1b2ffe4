"""Frequencies code by code, as a decoder needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from audiocodec.tokens.context.frequencies import to_frequencies
from audiocodec.tokens.context.layer import Ints

if TYPE_CHECKING:
    from audiocodec.tokens.context.model import ContextModel


class Predictor:
    """The state of ``rows`` sequences that are decoded in lockstep, all from the initial state.

    For each frame, for each stage ``k`` from 0 to ``num_codebooks - 1`` in order:
    ``frequencies(k)``, then ``put(k, codes)``.
    """

    def __init__(self, model: ContextModel, rows: int, num_codebooks: int) -> None:
        self.model, self.rows, self.num_codebooks = model, rows, num_codebooks
        self._state = np.repeat(model.start_state[num_codebooks - 1][None], rows, axis=0)
        self._begin_frame()

    def _begin_frame(self) -> None:
        model = self.model
        self._sum = np.repeat(model.start_sum[self.num_codebooks - 1][None], self.rows, axis=0)
        self._memory = model.recalled(self._state, self.num_codebooks)

    def frequencies(self, stage: int) -> Ints:
        """int64 ``[R, size]``: frequencies of the next code of ``stage``."""
        logits = self.model.logits(stage, self._memory[stage], self._sum)
        table, precision = self.model.table, self.model.precision
        return to_frequencies(logits, table, precision).astype(np.int64)

    def put(self, stage: int, codes: Ints) -> None:
        """The codes int ``[R]`` of ``stage``. The last stage completes the frame."""
        self._sum += self.model.embeddings[stage][codes]
        if stage == self.num_codebooks - 1:
            self._state = self.model.remember(self._state, self._sum)
            self._begin_frame()
