"""The systems that are compared: scores by file, from a CSV, from decoded files, or of a model."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics import METRICS
from audiocodec.evaluation.pairs import PairScores
from audiocodec.evaluation.result import Evaluation

RATES = {"payload_kbps": "kbps", "file_kbps": "kbps in file"}


@dataclass
class System:
    """The scores of one system.

    Attributes:
        name: to show; of several with one name, the source is added.
        source: the CSV or folder.
        scores: for each number of codebooks (None for other codecs) and file, scores by name.
    """

    name: str
    source: str
    scores: dict[int | None, dict[str, dict[str, float]]] = field(default_factory=dict)

    @property
    def any_count(self) -> dict[str, dict[str, float]]:
        """The scores of another codec; of a model, none."""
        return self.scores.get(None, {})


def read_scores(path: str | Path) -> list[System]:
    """The systems in a CSV of ``codec evaluate --csv`` or ``codec score --csv``.

    Raises:
        CodecError: it cannot be read, or is no such file.
    """
    path = Path(path)
    systems: dict[str, System] = {}
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            titles = reader.fieldnames or []
            names = [name for name in titles if name in METRICS or name in RATES]
            if "file" not in titles or not names:
                raise CodecError(
                    f"{path}: has no scores; name a file that codec evaluate --csv or codec score "
                    "--csv wrote"
                )
            for row in reader:
                found = {name: float(row[name]) for name in names if row[name]}
                if not found:
                    continue
                model = row.get("model") or path.stem
                system = systems.setdefault(
                    f"{model} {row.get('fingerprint')}", System(model, str(path))
                )
                count = int(row.get("num_codebooks") or 0) or None
                system.scores.setdefault(count, {})[row["file"]] = found
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, csv.Error, TypeError) as error:
        raise CodecError(f"{path}: not a CSV of scores ({error})") from None
    if not systems:
        raise CodecError(f"{path}: no file in it has a score")
    return list(systems.values())


def scored_system(result: PairScores) -> System:
    """The decoded files of one folder as a system. Its files are named by their references."""
    scores = {row.file: row.scores for row in result.rows}
    return System(Path(result.decoded).resolve().name, result.decoded, {None: scores})


def evaluated_system(result: Evaluation, source: str) -> System:
    """A model that was evaluated, whose path or name is ``source``, as a system."""
    system = System(result.model, source)
    for row in result.rows:
        rates = {name: getattr(row, name) for name in RATES}
        known = {name: rate for name, rate in rates.items() if rate is not None}
        system.scores.setdefault(row.num_codebooks, {})[row.file] = {**row.scores, **known}
    return system
