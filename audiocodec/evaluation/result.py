"""What an evaluation found: a row for each file and number of codebooks, means, a table, a CSV.

Of one model, or of several on the same files.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.extras import import_extra
from audiocodec.paths import replacing
from audiocodec.tokens import stats

# score -> (title in the table, format); the order of the columns
SCORES = {
    "pesq_wb": ("PESQ-WB", ".2f"),
    "stoi": ("STOI", ".3f"),
    "si_sdr": ("SI-SDR dB", ".1f"),
    "si_sdr_raw": ("unaligned", ".1f"),
    "log_mel_distance": ("log-mel dB", ".2f"),
    "distill_mos": ("DistillMOS", ".2f"),  # only when asked for
}


@dataclass
class ScoredFile:
    """The scores of one reconstruction against its reference.

    A score that could not be had is missing from ``scores`` and explained in ``reasons``.
    """

    file: str
    seconds: float
    channels: int
    lag_samples: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Row(ScoredFile):
    """One file at one number of codebooks.

    kbps and real-time factors (seconds of work per second of audio) are per channel;
    ``payload_kbps`` counts the codes in the token file, ``file_kbps`` all of its bytes. A file of
    0 s has none of them.
    """

    num_codebooks: int
    payload_kbps: float | None = None
    file_kbps: float | None = None
    encode_factor: float | None = None
    decode_factor: float | None = None


@dataclass(frozen=True)
class Mean:
    """A mean over ``count`` files and half its 95 % confidence interval (Student's t)."""

    mean: float
    ci95: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean | None":
        """The mean of ``values``; None of nothing, no interval of one."""
        if not values:
            return None
        if len(values) == 1:
            return cls(float(values[0]), None, 1)
        error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        special = import_extra("scipy.special", "eval", "a confidence interval")
        quantile = float(special.stdtrit(len(values) - 1, 0.975))
        return cls(float(np.mean(values)), quantile * error, len(values))


@dataclass
class Evaluation:
    """The result of :func:`evaluate`.

    ``code_counts`` says for each stage how often each entry occurred in the whole set: int64
    ``[size]``. ``unreadable`` maps a file that could not be read to the reason.
    """

    model: str
    fingerprint: str
    sample_rate: int
    device: str
    num_codebooks: tuple[int, ...]
    scores: tuple[str, ...]
    code_counts: list[NDArray[np.int64]]
    rows: list[Row] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    beam: int = 1  # beam width of the search for codes
    threads: int = 1  # CPU threads that the codec ran on

    def mean(self, score: str, num_codebooks: int) -> Mean | None:
        """The mean of a score or of a field of :class:`Row`, over the files that have it."""
        rows = [row for row in self.rows if row.num_codebooks == num_codebooks]
        values = [row.scores.get(score) if score in SCORES else getattr(row, score) for row in rows]
        return Mean.of([value for value in values if value is not None])

    def real_time_factor(self, work: str, num_codebooks: int) -> float | None:
        """Seconds of ``encode`` or ``decode`` per second of audio and channel, over all files."""
        rows = [row for row in self.rows if row.num_codebooks == num_codebooks and row.seconds]
        spans = [row.seconds * row.channels for row in rows]
        factors = [getattr(row, f"{work}_factor") for row in rows]
        return float(np.dot(factors, spans) / sum(spans)) if rows else None

    @property
    def usage(self) -> list[float]:
        """For each stage, the share of its entries that occur in the whole set."""
        return [stats.usage(counts) for counts in self.code_counts]

    @property
    def perplexity(self) -> list[float]:
        """For each stage, its entries in even use over the whole set."""
        return [stats.perplexity(counts) for counts in self.code_counts]

    @property
    def failures(self) -> list[str]:
        """What could not be read or scored: one line for each file, score and reason."""
        where: dict[tuple[str, str, str], list[str]] = {}
        for row in self.rows:
            for score, reason in row.reasons.items():
                key = (row.file, SCORES[score][0], reason)
                where.setdefault(key, []).append(str(row.num_codebooks))
        return [*self.unreadable.values()] + [
            f"{file}: no {title} with {', '.join(counts)} codebooks: {reason}"
            for (file, title, reason), counts in where.items()
        ]

    def table(self) -> str:
        """Means and intervals, codebook usage and what failed, as text of under 100 columns."""
        parts = [[self._title()], *_means([self]), self._codebooks()]
        if self.failures:
            parts.append(failure_lines(self.failures))
        return "\n\n".join("\n".join(part) for part in parts)

    def _title(self) -> str:
        files = {row.file: row.seconds for row in self.rows}
        return (
            f"{self.model} {self.fingerprint}".rstrip()
            + f", files: {len(files)}, {sum(files.values()):.1f} s at {self.sample_rate} Hz"
            + (f", beam {self.beam}" if self.beam > 1 else "")
        )

    def _line(self, num_codebooks: int) -> list[str]:
        cells = [str(num_codebooks)]
        for rate in ("payload_kbps", "file_kbps"):
            mean = self.mean(rate, num_codebooks)
            cells.append(f"{mean.mean:.2f}" if mean else "-")
        cells += [mean_cell(score, self.mean(score, num_codebooks)) for score in self.scores]
        for work in ("encode", "decode"):
            factor = self.real_time_factor(work, num_codebooks)
            cells.append(f"{1 / factor:.0f}x" if factor else "-")
        return cells

    def _codebooks(self) -> list[str]:
        table = columns(
            [
                ["codebook", "entries", "used", "perplexity"],
                *(
                    [str(stage), str(len(counts)), f"{100 * used:.1f} %", f"{even:.0f}"]
                    for stage, (counts, used, even) in enumerate(
                        zip(self.code_counts, self.usage, self.perplexity, strict=True), start=1
                    )
                ),
            ]
        )
        return [*table, "", f"codes counted over {sum(map(int, self.code_counts[0]))} frames"]

    def write_csv(self, path: str | Path) -> None:
        """Every row, one a line; a score that could not be had is empty and ``failed`` says why.

        Raises:
            CodecError: the place is not writable.
        """
        _write_rows([self], path)

    def as_dict(self) -> dict[str, Any]:
        """All but the rows, for JSON."""
        results: list[dict[str, Any]] = []
        for count in self.num_codebooks:
            result: dict[str, Any] = {"num_codebooks": count}
            for name in ("payload_kbps", "file_kbps", *self.scores):
                mean = self.mean(name, count)
                result[name] = asdict(mean) if mean else None
            for work in ("encode", "decode"):
                result[f"{work}_factor"] = self.real_time_factor(work, count)
            results.append(result)
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "sample_rate": self.sample_rate,
            "device": self.device,
            "beam": self.beam,
            "threads": self.threads,
            "files": len({row.file for row in self.rows}),
            "results": results,
            "codebooks": [
                {"size": len(counts), "usage": used, "perplexity": even}
                for counts, used, even in zip(
                    self.code_counts, self.usage, self.perplexity, strict=True
                )
            ],
            "failures": self.failures,
        }


@dataclass
class Comparison:
    """Several models on the same files.

    Means are over the files for which every model has the score, so that no model is compared on
    easier files than another; :attr:`evaluations` and the CSV have every row.
    """

    evaluations: list[Evaluation]

    @property
    def unreadable(self) -> dict[str, str]:
        return {file: why for each in self.evaluations for file, why in each.unreadable.items()}

    @property
    def failures(self) -> list[str]:
        """What could not be read or scored; with the models' names unless it is so of all."""
        where: dict[str, list[str]] = {}
        for each in self.evaluations:
            for line in each.failures:
                where.setdefault(line, []).append(each.model)
        everywhere = len(self.evaluations)
        return [
            line if len(models) == everywhere else f"{', '.join(models)}: {line}"
            for line, models in where.items()
        ]

    def shared(self) -> dict[str, set[str]]:
        """For each score, the files that have it for every model and number of codebooks."""
        having = [
            {
                score: {
                    row.file
                    for row in each.rows
                    if row.num_codebooks == count and score in row.scores
                }
                for score in each.scores
            }
            for each in self.evaluations
            for count in each.num_codebooks
        ]
        return {score: set.intersection(*(h[score] for h in having)) for score in having[0]}

    def equal_files(self) -> list[Evaluation]:
        """The evaluations with those scores alone that :meth:`shared` names."""
        shared = self.shared()

        def keep(row: Row) -> Row:
            kept = {score: v for score, v in row.scores.items() if row.file in shared[score]}
            return replace(row, scores=kept)

        return [replace(each, rows=list(map(keep, each.rows))) for each in self.evaluations]

    def table(self) -> str:
        """A row for each model and number of codebooks, then each model's codebook usage."""
        even = self.equal_files()
        parts = [[each._title() for each in even], *_means(even)]
        total = len({row.file for each in even for row in each.rows})
        fewer: dict[int, list[str]] = {}
        for score, files in self.shared().items():
            if len(files) < total:
                fewer.setdefault(len(files), []).append(SCORES[score][0])
        if fewer:
            parts.append(
                [
                    f"{count} of {total} files have {', '.join(titles)} for every model: means "
                    "over these"
                    for count, titles in fewer.items()
                ]
            )
        if len({each.sample_rate for each in even}) > 1:
            parts.append(
                [
                    "The models have different sample rates, and each is compared with the input",
                    "at its own. PESQ-WB, STOI and DistillMOS are computed at 16 kHz for all;",
                    "SI-SDR and log-mel distance are not comparable between them.",
                ]
            )
        parts += [[each.model, *each._codebooks()] for each in even]
        if self.failures:
            parts.append(failure_lines(self.failures))
        return "\n\n".join("\n".join(part) for part in parts)

    def write_csv(self, path: str | Path) -> None:
        """As :meth:`Evaluation.write_csv`, model after model."""
        _write_rows(self.evaluations, path)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ``models``, a list of :meth:`Evaluation.as_dict`, and all ``failures``."""
        return {
            "models": [each.as_dict() for each in self.equal_files()],
            "failures": self.failures,
        }


def _means(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    """The table of means, with the model's name where there are several, and its legend."""
    first = evaluations[0]
    several = len(evaluations) > 1
    titles = [SCORES[score][0] for score in first.scores]
    head = ["model"] * several + ["n", "kbps", "in file", *titles, "encode", "decode"]
    lines = [
        [each.model] * several + each._line(count)
        for each in evaluations
        for count in each.num_codebooks
    ]
    legend = [
        MEAN_LEGEND + " kbps per channel, of the",
        "codes and of the whole token file; x: times faster than real time, "
        + (_cpu_threads(first.threads) if first.device == "cpu" else first.device),
    ]
    return [columns([head, *lines], left=several), legend]


def _cpu_threads(number: int) -> str:
    return "one CPU thread" if number == 1 else f"{number} CPU threads"


def _write_rows(evaluations: Sequence[Evaluation], path: str | Path) -> None:
    plain = ["file", "num_codebooks", "seconds", "channels", "payload_kbps", "file_kbps"]
    plain += ["encode_factor", "decode_factor", "lag_samples"]
    scores = evaluations[0].scores
    lines: list[list[object]] = []
    for each in evaluations:
        model = [each.model, each.fingerprint]
        for row in each.rows:
            values = [getattr(row, name) for name in plain]
            lines.append([*model, *values, *score_cells(row, scores)])
        for name, reason in each.unreadable.items():
            empty = [None] * (len(plain) - 1 + len(scores))
            lines.append([*model, name, *empty, reason])
    write_lines(path, ["model", "fingerprint", *plain, *scores, "failed"], lines)


# What the results of `evaluate` and of `score_files` are written with.

MEAN_LEGEND = "mean over files ± 95 % confidence interval (Student's t);"


def mean_cell(score: str, mean: Mean | None) -> str:
    """A mean and its interval as the table has them."""
    if mean is None:
        return "-"
    form = SCORES[score][1]
    spread = f" ±{mean.ci95:{form}}" if mean.ci95 is not None else ""
    return f"{mean.mean:{form}}{spread}"


def failure_lines(failures: Sequence[str]) -> list[str]:
    return [f"failed: {len(failures)}", *(f"  {text}" for text in failures)]


def columns(lines: list[list[str]], left: bool = False) -> list[str]:
    """Cells, aligned to the right under their titles; the first column to the ``left``."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [list(map(str.rjust, line, widths)) for line in lines]
    if left:
        rows = [[line[0].ljust(widths[0]), *row[1:]] for line, row in zip(lines, rows, strict=True)]
    return ["  ".join(row) for row in rows]


def score_cells(row: ScoredFile, scores: Sequence[str]) -> list[object]:
    """A file's scores for a CSV, empty where it has none, and why not."""
    failed = "; ".join(f"{score}: {why}" for score, why in row.reasons.items())
    return [*(row.scores.get(score) for score in scores), failed]


def write_lines(path: str | Path, titles: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """A CSV with a line of titles, whole or not at all.

    Raises:
        CodecError: the place is not writable.
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
