"""Bits per code on held-out recordings, from the very frequencies that files are coded with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.tokens.context import ContextModel
from audiocodec.tokens.rates import code_bits
from audiocodec.training.context.data import Rows


@dataclass(frozen=True)
class Bits:
    """Mean bits of a code.

    Attributes:
        stages: with context coding, by stage: ``[K]``.
        fixed: with fixed coding.
    """

    stages: npt.NDArray[np.float64]
    fixed: npt.NDArray[np.float64]

    @property
    def saving(self) -> float:
        """Share of the bits of fixed coding that context coding saves."""
        return 1 - float(self.stages.sum() / self.fixed.sum())


def measure(model: ContextModel, rows: Rows, num_codebooks: int) -> Bits:
    """Bits of the first ``num_codebooks`` codes of blocks ``[R, K, F]``."""
    bits = model.bits(rows[:, :num_codebooks]).mean(axis=(0, 2))
    fixed = [float(code_bits(size)) for size in model.codebook_sizes[:num_codebooks]]
    return Bits(bits, np.array(fixed))


def spread(count: int) -> list[int]:
    """Numbers of codebooks to report: 1, 3, 6, 12 and so on, and all."""
    return sorted({n for n in (1, 3, 6, 12, 24, 48) if n < count} | {count})


def table(measured: Iterable[Bits]) -> str:
    """A line for each number of codebooks: the saving, and bits by stage."""
    lines = []
    for bits in measured:
        stages = " ".join(f"{value:.2f}" for value in bits.stages)
        lines.append(f"{len(bits.stages):3d} codebooks: {-100 * bits.saving:+.1f} %  {stages}")
    return "\n".join(lines)
