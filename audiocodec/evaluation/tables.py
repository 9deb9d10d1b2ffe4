"""Text tables and CSV files of scores."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from audiocodec.evaluation.metrics import METRICS
from audiocodec.evaluation.rows import Mean, ScoredFile
from audiocodec.paths import replacing

WIDEST = 140  # characters of a table
MEAN_LEGEND = "mean over files ± 95 % confidence interval (Student's t);"


def metric_titles(metrics: Iterable[str]) -> list[str]:
    """The titles of the metrics' columns."""
    return [METRICS[name].title for name in metrics]


def mean_cell(metric: str, mean: Mean | None) -> str:
    """A mean and its interval in the metric's format; ``-`` for None."""
    if mean is None:
        return "-"
    form = METRICS[metric].format
    interval = f" ±{mean.ci95:{form}}" if mean.ci95 is not None else ""
    return f"{mean.mean:{form}}{interval}"


def failure_lines(failures: Sequence[str]) -> list[str]:
    """The failures, indented below their number."""
    return [f"failed: {len(failures)}", *(f"  {text}" for text in failures)]


def columns(lines: list[list[str]], left: bool = False, keep: int = 0) -> list[str]:
    """Lines of cells as text, aligned to the right; the first column to the left if ``left``.

    A table of more than 140 characters is divided into several of fewer columns below one another,
    which all begin with the first ``keep`` columns.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    total = 0
    for place, width in enumerate(widths):
        total += width + 2
        if total > WIDEST + 2 and place > keep:
            first = [line[:place] for line in lines]
            rest = [line[:keep] + line[place:] for line in lines]
            return [*columns(first, left), "", *columns(rest, left, keep)]
    rows = [list(map(str.rjust, line, widths)) for line in lines]
    if left:
        rows = [[line[0].ljust(widths[0]), *row[1:]] for line, row in zip(lines, rows, strict=True)]
    return ["  ".join(row) for row in rows]


def score_cells(row: ScoredFile, metrics: Sequence[str]) -> list[object]:
    """A file's scores for a CSV, None where it has none, and the reasons in a last cell."""
    failed = "; ".join(f"{metric}: {reason}" for metric, reason in row.reasons.items())
    return [*(row.scores.get(metric) for metric in metrics), failed]


def write_lines(path: str | Path, titles: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Write a CSV with a line of titles. The file is written completely or not at all.

    Raises:
        CodecError: the file cannot be written.
    """
    with (
        replacing(Path(path)) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(titles)
        writer.writerows(
            [f"{value:.6g}" if isinstance(value, float) else value for value in line]
            for line in lines
        )
