"""What an evaluation found: a row for each file and number of codebooks, means, a table, a CSV."""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec import metrics
from audiocodec.extras import import_extra
from audiocodec.paths import replacing

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
class Row:
    """One file at one number of codebooks.

    A score that could not be had is missing from ``scores`` and explained in ``reasons``. kbps and
    real-time factors (seconds of work per second of audio) are per channel; ``payload_kbps`` counts
    the codes in the token file, ``file_kbps`` all of its bytes. A file of 0 s has none of them.
    """

    file: str
    num_codebooks: int
    seconds: float
    channels: int
    payload_kbps: float | None = None
    file_kbps: float | None = None
    encode_factor: float | None = None
    decode_factor: float | None = None
    lag_samples: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


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
    beam: int = 1  # sums that the encoder's search kept

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
        return [metrics.usage(counts) for counts in self.code_counts]

    @property
    def perplexity(self) -> list[float]:
        """For each stage, its entries in even use over the whole set."""
        return [metrics.perplexity(counts) for counts in self.code_counts]

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
        files = {row.file: row.seconds for row in self.rows}
        lines = [
            f"{self.model} {self.fingerprint}".rstrip()
            + f", files: {len(files)}, {sum(files.values()):.1f} s at {self.sample_rate} Hz"
            + (f", beam {self.beam}" if self.beam > 1 else ""),
            "",
            *_columns([self._head(), *(self._line(count) for count in self.num_codebooks)]),
            "",
            "mean over files ± 95 % confidence interval (Student's t); kbps per channel, of the",
            "codes and of the whole token file; x: times faster than real time, "
            + ("one CPU thread" if self.device == "cpu" else self.device),
        ]
        frames = sum(map(int, self.code_counts[0]))
        lines += ["", *_columns(self._codebooks()), "", f"codes counted over {frames} frames"]
        if self.failures:
            lines += ["", f"failed: {len(self.failures)}", *(f"  {text}" for text in self.failures)]
        return "\n".join(lines)

    def _head(self) -> list[str]:
        titles = [SCORES[score][0] for score in self.scores]
        return ["n", "kbps", "in file", *titles, "encode", "decode"]

    def _line(self, num_codebooks: int) -> list[str]:
        cells = [str(num_codebooks)]
        for rate in ("payload_kbps", "file_kbps"):
            mean = self.mean(rate, num_codebooks)
            cells.append(f"{mean.mean:.2f}" if mean else "-")
        for score in self.scores:
            form = SCORES[score][1]
            mean = self.mean(score, num_codebooks)
            spread = f" ±{mean.ci95:{form}}" if mean and mean.ci95 is not None else ""
            cells.append(f"{mean.mean:{form}}{spread}" if mean else "-")
        for work in ("encode", "decode"):
            factor = self.real_time_factor(work, num_codebooks)
            cells.append(f"{1 / factor:.0f}x" if factor else "-")
        return cells

    def _codebooks(self) -> list[list[str]]:
        return [
            ["codebook", "entries", "used", "perplexity"],
            *(
                [str(stage), str(len(counts)), f"{100 * used:.1f} %", f"{even:.0f}"]
                for stage, (counts, used, even) in enumerate(
                    zip(self.code_counts, self.usage, self.perplexity, strict=True), start=1
                )
            ),
        ]

    def write_csv(self, path: str | Path) -> None:
        """Every row, one a line; a score that could not be had is empty and ``failed`` says why.

        Raises:
            CodecError: the place is not writable.
        """
        plain = ["file", "num_codebooks", "seconds", "channels", "payload_kbps", "file_kbps"]
        plain += ["encode_factor", "decode_factor", "lag_samples"]
        with (
            replacing(Path(path)) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            writer.writerow([*plain, *self.scores, "failed"])
            for row in self.rows:
                values = [_short(getattr(row, name)) for name in plain]
                scores = [_short(row.scores.get(score)) for score in self.scores]
                failed = "; ".join(f"{score}: {why}" for score, why in row.reasons.items())
                writer.writerow([*values, *scores, failed])
            for name, reason in self.unreadable.items():
                writer.writerow([name, *[None] * (len(plain) - 1 + len(self.scores)), reason])

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


def _columns(lines: list[list[str]]) -> list[str]:
    """Cells, aligned to the right under their titles."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.rjust, line, widths)) for line in lines]


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
