"""Scores of other systems that were measured elsewhere, to stand beside an evaluation.

A CSV with a line for each system and bitrate: ``system``, ``kbps``, a column for each metric by its
name (``pesq_wb``), ``encode`` and ``decode`` (seconds of computing per second of audio), and
``source``. What is not known is empty.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics import METRICS


@dataclass(frozen=True)
class Published:
    """A system at one bitrate.

    Attributes:
        scores: by the metric's name.
        factor: seconds of computing per second of audio, encoding and decoding, or None.
        source: on which clips it was measured, and by whom.
    """

    system: str
    kbps: float
    scores: Mapping[str, float]
    factor: float | None
    source: str


def read_published(path: str | Path) -> list[Published]:
    """The lines of such a CSV.

    Raises:
        CodecError: it cannot be read, or has other columns.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            metrics = [name for name in reader.fieldnames or () if name in METRICS]
            found = [_published(row, metrics) for row in reader]
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (KeyError, ValueError, TypeError, csv.Error):
        found, metrics = [], []
    if not found or not metrics:
        raise CodecError(
            f"{path}: not a CSV of published scores; it needs the columns system, kbps, source and "
            f"those of metrics, such as {', '.join(list(METRICS)[:2])}"
        )
    return found


def _published(row: Mapping[str, str], metrics: Sequence[str]) -> Published:
    scores = {name: float(row[name]) for name in metrics if row[name]}
    times = [float(row[name]) for name in ("encode", "decode") if row.get(name)]
    factor = sum(times) if len(times) == 2 else None
    return Published(row["system"], float(row["kbps"]), scores, factor, row["source"])


def published_lines(published: Sequence[Published], metrics: Sequence[str]) -> list[list[str]]:
    """The cells of a table with those of ``metrics`` that any system has; titles first."""
    shown = [name for name in metrics if any(name in each.scores for each in published)]
    lines = [["system", "kbps", *(METRICS[name].title for name in shown), "source"]]
    for each in published:
        scores = [
            f"{each.scores[name]:{METRICS[name].format}}" if name in each.scores else "-"
            for name in shown
        ]
        lines.append([each.system, f"{each.kbps:.2f}", *scores, each.source])
    return lines
