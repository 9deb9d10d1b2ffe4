"""The result of evaluating one model: rows, means, codebook usage and failures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.evaluation.metrics import METRICS
from audiocodec.evaluation.report import codebook_table, mean_tables, title_line, write_rows
from audiocodec.evaluation.rows import Mean, Row
from audiocodec.evaluation.tables import failure_lines
from audiocodec.tokens import stats
from audiocodec.tokens.header import FIXED


@dataclass
class Evaluation:
    """The result of :func:`~audiocodec.evaluation.run.evaluate`.

    Attributes:
        model: its name.
        fingerprint: of the model, 16 hex digits, or ``""`` if it was never saved.
        sample_rate: of the model, in Hz.
        device: type of the device that the model ran on.
        num_codebooks: the numbers of codebooks that were evaluated, ascending.
        metrics: the names of the metrics, in table order.
        code_counts: for each codebook, how often each entry occurs in all files, int64 ``[size]``.
        rows: one for each file and number of codebooks.
        unreadable: the reason for each file that could not be read.
        beam: beam width of the search for codes.
        coding: of the token files that the codes went through.
        threads: CPU threads that the model ran on.
        context_bits: the bits that the codes of each codebook take under the model's context model
            in all files, float64 ``[K]``; None if they were not counted.
    """

    model: str
    fingerprint: str
    sample_rate: int
    device: str
    num_codebooks: tuple[int, ...]
    metrics: tuple[str, ...]
    code_counts: list[NDArray[np.int64]]
    rows: list[Row] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    beam: int = 1
    coding: str = FIXED
    threads: int = 1
    context_bits: NDArray[np.float64] | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether another codec was evaluated, which has no codebooks of ours."""
        return not self.code_counts

    def mean(self, name: str, num_codebooks: int) -> Mean | None:
        """The mean of a metric, or of a field of :class:`Row`, over the files that have it."""
        rows = [row for row in self.rows if row.num_codebooks == num_codebooks]
        if name in self.metrics:
            values = [row.scores.get(name) for row in rows]
        else:
            values = [getattr(row, name) for row in rows]
        return Mean.of([value for value in values if value is not None])

    def real_time_factor(self, direction: str, num_codebooks: int) -> float | None:
        """Seconds of computing per second of audio and channel over all files that were coded here.

        Args:
            direction: ``"encode"`` or ``"decode"``.
        """
        rows = [row for row in self.rows if row.num_codebooks == num_codebooks and row.seconds]
        timed = [(getattr(row, f"{direction}_factor"), row.seconds * row.channels) for row in rows]
        timed = [(factor, span) for factor, span in timed if factor is not None]
        total = sum(span for _, span in timed)
        return sum(factor * span for factor, span in timed) / total if timed else None

    @property
    def usage(self) -> list[float]:
        """For each codebook, the share of its entries that occur in any file, 0 to 1."""
        return [stats.usage(counts) for counts in self.code_counts]

    @property
    def perplexity(self) -> list[float]:
        """For each codebook, its perplexity over all files, 1 to its size."""
        return [stats.perplexity(counts) for counts in self.code_counts]

    def bits_by_stage(self) -> list[float] | None:
        """For each codebook, the mean bits of a code under the context model."""
        if self.context_bits is None:
            return None
        return (self.context_bits / max(1, int(self.code_counts[0].sum()))).tolist()

    def codebooks(self) -> list[dict[str, Any]]:
        """For each codebook, its ``size``, ``usage`` and ``perplexity``."""
        return [
            {"size": len(counts), "usage": usage, "perplexity": perplexity}
            for counts, usage, perplexity in zip(
                self.code_counts, self.usage, self.perplexity, strict=True
            )
        ]

    @property
    def failures(self) -> list[str]:
        """A line for each file that could not be read, then for each file, metric and reason."""
        counts: dict[tuple[str, str, str], list[str]] = {}
        for row in self.rows:
            for metric, reason in row.reasons.items():
                key = (row.file, METRICS[metric].title, reason)
                counts.setdefault(key, []).append(str(row.num_codebooks))
        with_numbers = "" if self.is_baseline else " with {} codebooks"
        return [*self.unreadable.values()] + [
            f"{file}: no {title}{with_numbers.format(', '.join(numbers))}: {reason}"
            for (file, title, reason), numbers in counts.items()
        ]

    def table(self) -> str:
        """Means, codebook usage and failures as text of under 100 columns."""
        parts = [[title_line(self)], *mean_tables([self]), codebook_table(self)]
        if self.failures:
            parts.append(failure_lines(self.failures))
        return "\n\n".join("\n".join(part) for part in parts)

    def write_csv(self, path: str | Path) -> None:
        """Write one line for each row; ``failed`` has the reasons for scores that are empty.

        Raises:
            CodecError: the file cannot be written.
        """
        write_rows([self], path)

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rows, for JSON."""
        results: list[dict[str, Any]] = []
        for count in self.num_codebooks:
            result: dict[str, Any] = {"num_codebooks": count}
            for name in ("payload_kbps", "file_kbps", *self.metrics):
                mean = self.mean(name, count)
                result[name] = asdict(mean) if mean else None
            for direction in ("encode", "decode"):
                result[f"{direction}_factor"] = self.real_time_factor(direction, count)
            results.append(result)
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "sample_rate": self.sample_rate,
            "device": self.device,
            "beam": self.beam,
            "coding": self.coding,
            "threads": self.threads,
            "files": len({row.file for row in self.rows}),
            "results": results,
            "codebooks": self.codebooks(),
            "failures": self.failures,
        }
