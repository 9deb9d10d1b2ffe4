"""The results of one or several models as text tables and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audiocodec.evaluation.tables import (
    MEAN_LEGEND,
    columns,
    mean_cell,
    metric_titles,
    score_cells,
    write_lines,
)
from audiocodec.tokens.header import FIXED

if TYPE_CHECKING:
    from audiocodec.evaluation.result import Evaluation

ROW_COLUMNS = (
    "file",
    "num_codebooks",
    "seconds",
    "channels",
    "payload_kbps",
    "file_kbps",
    "encode_factor",
    "decode_factor",
    "lag_samples",
)


def title_line(evaluation: Evaluation) -> str:
    """The model and the audio that it was evaluated on."""
    files = {row.file: row.seconds for row in evaluation.rows}
    return (
        f"{evaluation.model} {evaluation.fingerprint}".rstrip()
        + f", files: {len(files)}, {sum(files.values()):.1f} s at {evaluation.sample_rate} Hz"
        + (f", beam {evaluation.beam}" if evaluation.beam > 1 else "")
        + (f", {evaluation.coding} coding" if evaluation.coding != FIXED else "")
    )


def mean_tables(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    """The table of means and its legend. Several models are named in a first column."""
    several = len(evaluations) > 1
    lines = mean_lines(evaluations)
    legend = mean_legend(evaluations[0]).replace(" of the codes and", " of the\ncodes and")
    return [columns(lines, left=several, keep=2 + several), legend.splitlines()]


def mean_lines(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    """The cells of the table of means, titles first. Several models are in a first column."""
    several = len(evaluations) > 1
    titles = metric_titles(evaluations[0].metrics)
    lines = [["model"] * several + ["n", "kbps", "in file", *titles, "encode", "decode"]]
    for evaluation in evaluations:
        for count in evaluation.num_codebooks:
            lines.append([evaluation.model] * several + _mean_cells(evaluation, count))
    return lines


def mean_legend(evaluation: Evaluation) -> str:
    """What the columns of :func:`mean_lines` are."""
    threads = evaluation.threads
    where = "one CPU thread" if threads == 1 else f"{threads} CPU threads"
    return (
        MEAN_LEGEND + " kbps per channel, of the codes and of the whole token file; x: times "
        "faster than real time, " + (where if evaluation.device == "cpu" else evaluation.device)
    )


def _mean_cells(evaluation: Evaluation, num_codebooks: int) -> list[str]:
    cells = [str(num_codebooks or "-")]
    for rate in ("payload_kbps", "file_kbps"):
        mean = evaluation.mean(rate, num_codebooks)
        cells.append(f"{mean.mean:.2f}" if mean else "-")
    for metric in evaluation.metrics:
        cells.append(mean_cell(metric, evaluation.mean(metric, num_codebooks)))
    for direction in ("encode", "decode"):
        factor = evaluation.real_time_factor(direction, num_codebooks)
        cells.append(f"{1 / factor:.0f}x" if factor else "-")
    return cells


def codebook_table(evaluation: Evaluation) -> list[str]:
    """Usage and perplexity of each codebook, and the number of frames counted."""
    lines = [["codebook", "entries", "used", "perplexity"]]
    for number, codebook in enumerate(evaluation.codebooks(), start=1):
        size, usage, perplexity = codebook["size"], codebook["usage"], codebook["perplexity"]
        lines.append([str(number), str(size), f"{100 * usage:.1f} %", f"{perplexity:.0f}"])
    frames = sum(map(int, evaluation.code_counts[0]))
    return [*columns(lines), "", f"codes counted over {frames} frames"]


def write_rows(evaluations: Sequence[Evaluation], path: str | Path) -> None:
    """Write every row of every model to a CSV, then the files that could not be read.

    Raises:
        CodecError: the file cannot be written.
    """
    metrics = evaluations[0].metrics
    lines: list[list[object]] = []
    for evaluation in evaluations:
        model = [evaluation.model, evaluation.fingerprint]
        for row in evaluation.rows:
            values = [getattr(row, name) for name in ROW_COLUMNS]
            lines.append([*model, *values, *score_cells(row, metrics)])
        for file, reason in evaluation.unreadable.items():
            empty = [None] * (len(ROW_COLUMNS) - 1 + len(metrics))
            lines.append([*model, file, *empty, reason])
    write_lines(path, ["model", "fingerprint", *ROW_COLUMNS, *metrics, "failed"], lines)
