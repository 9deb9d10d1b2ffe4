"""The contract of a pattern: where each code of each codebook stands in a sequence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import CodecError
from audiocodec.patterns.arrays import filled, integers

Places = NDArray[np.int64]
FILL = -1
"""Stands where a sequence has no code; no codebook has such a code."""


class Pattern(ABC):
    """An order of the codes of ``K`` codebooks and ``F`` frames, with its exact inverse.

    A pattern says in which step each code stands (:meth:`steps`); the rest follows. Codes are
    ``[..., K, F]``. A sequence has ``L`` steps: ``[..., L]`` with one row, where a model predicts
    one code in each step, or ``[..., K, L]`` with a row for each codebook, where it predicts ``K``
    codes at once. Both are NumPy arrays or tensors of any integer type; results are int64, of the
    same library and on the same device.

    Attributes:
        name: in the registry and in vocabulary files.
        one_row: all codes stand in one row.
        needs_length: the place of a code depends on ``F``, so that a sequence that was cut can only
            be read where ``F`` is known.
    """

    name: ClassVar[str]
    one_row: ClassVar[bool] = False
    needs_length: ClassVar[bool] = False

    @abstractmethod
    def steps(self, codebook: Any, frame: Any, num_codebooks: int, num_frames: int) -> Any:
        """The step, from 0, of the code of ``codebook [K, 1]`` and ``frame [1, F]``: ``[K, F]``."""

    def num_rows(self, num_codebooks: int) -> int:
        """Rows of a sequence."""
        return 1 if self.one_row else num_codebooks

    def num_steps(self, num_codebooks: int, num_frames: int) -> int:
        """Steps ``L`` of the sequence of so many codes."""
        if not num_frames:
            return 0
        return int(self.steps(num_codebooks - 1, num_frames - 1, num_codebooks, num_frames)) + 1

    def interleave(self, codes: Any, fill: int = FILL) -> Any:
        """Codes ``[..., K, F]`` -> sequence ``[..., L]`` or ``[..., K, L]``.

        Args:
            fill: what stands where there is no code.

        Raises:
            CodecError: not integers, or less than two dimensions.
        """
        codes = integers(codes, "codes")
        if codes.ndim < 2 or not codes.shape[-2]:
            raise CodecError(
                f"codes must be [..., codebooks, frames], not {list(codes.shape)}"
                + ("; of one codebook give codes[None]" if codes.ndim == 1 else "")
            )
        *lead, count, frames = codes.shape
        shape = (*lead, self.num_rows(count), self.num_steps(count, frames))
        sequence = filled(codes, shape, fill)
        sequence[(..., *_places(self, count, frames))] = codes
        return sequence[..., 0, :] if self.one_row else sequence

    def deinterleave(self, sequence: Any, num_codebooks: int, num_frames: int | None = None) -> Any:
        """The inverse of :meth:`interleave`; of a sequence that was cut, the frames that are whole.

        Args:
            sequence: ``[..., L]`` or ``[..., K, L]``; steps may be missing at its end.
            num_codebooks: ``K``.
            num_frames: ``F`` of the sequence before it was cut. Only patterns with ``needs_length``
                need it; by default the sequence is whole, or the pattern shows where it was cut.

        Returns:
            Codes ``[..., K, f]`` of all frames of which no code is missing.

        Raises:
            CodecError: not integers, another shape, more steps than ``num_frames`` frames have, or
                a number of steps that needs ``num_frames``.
        """
        sequence = integers(sequence, "a sequence")
        if num_codebooks < 1:
            raise CodecError(f"num_codebooks must be 1 or more, not {num_codebooks}")
        rows = 1 if self.one_row else 2
        if sequence.ndim < rows or (rows == 2 and sequence.shape[-2] != num_codebooks):
            due = "[..., steps]" if self.one_row else f"[..., {num_codebooks} codebooks, steps]"
            raise CodecError(
                f"a sequence of pattern {self.name} must be {due}, not {list(sequence.shape)}"
            )
        total = self._total_frames(num_codebooks, sequence.shape[-1], num_frames)
        place_rows, steps = _places(self, num_codebooks, total)
        whole = int((steps < sequence.shape[-1]).all(axis=0).sum())
        if self.one_row:
            sequence = sequence[..., None, :]
        return sequence[..., place_rows[:, :whole], steps[:, :whole]]

    def codebooks(self, num_codebooks: int, num_frames: int) -> Places:
        """The codebook of each place of a sequence, -1 where no code stands: ``[rows, L]``."""
        shape = (num_codebooks, num_frames)
        owners = np.broadcast_to(np.arange(num_codebooks)[:, None], shape)
        found: Places = self.interleave(owners)
        return found[None] if self.one_row else found

    def _total_frames(self, num_codebooks: int, num_steps: int, num_frames: int | None) -> int:
        """The frames of a sequence before it was cut to ``num_steps``."""
        if num_frames is not None:
            most = self.num_steps(num_codebooks, num_frames)
            if num_frames < 0 or num_steps > most:
                raise CodecError(
                    f"{num_frames} frames of {num_codebooks} codebooks have {most} steps in pattern"
                    f" {self.name}, and the sequence has {num_steps}"
                )
            return num_frames

        def steps(frames: int) -> int:
            return self.num_steps(num_codebooks, frames)

        found = bisect_right(range(num_steps + 1), num_steps, key=steps) - 1
        if self.needs_length and steps(found) != num_steps:
            raise CodecError(
                f"{num_steps} steps are no whole sequence of pattern {self.name} with "
                f"{num_codebooks} codebooks; of one that was cut give num_frames"
            )
        return found


def _places(pattern: Pattern, num_codebooks: int, num_frames: int) -> tuple[Places, Places]:
    """Row and step of each code, ``[K, F]`` both."""
    shape = (num_codebooks, num_frames)
    codebook, frame = np.arange(num_codebooks)[:, None], np.arange(num_frames)[None]
    steps = np.broadcast_to(pattern.steps(codebook, frame, *shape), shape)
    rows = np.broadcast_to(codebook * (not pattern.one_row), shape)
    return rows.copy(), steps.copy()  # PyTorch takes writable arrays only
