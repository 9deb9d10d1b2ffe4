"""Score decoded files of any codec against their references.

A pair is a reference and a decoded file with the same path in their folders, apart from the suffix:
``ref/a/1.flac`` and ``decoded/a/1.wav``. The decoded file is resampled to the reference's sample
rate. The scores are those of :func:`~audiocodec.evaluation.run.evaluate`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from audiocodec.audio import audio_info, find_audio, load_audio
from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics import METRICS, check_installed, select_metrics
from audiocodec.evaluation.rows import Mean, ScoredFile
from audiocodec.evaluation.scoring import Pair, score_pairs
from audiocodec.evaluation.tables import (
    MEAN_LEGEND,
    columns,
    failure_lines,
    mean_cell,
    metric_titles,
    score_cells,
    write_lines,
)
from audiocodec.progress import progress_bar

PAIRS_PER_TURN = 16  # for each scoring process: their audio is in memory at the same time
LENGTH_TOLERANCE = 0.1  # s: codecs pad to whole frames


@dataclass(kw_only=True)
class PairRow(ScoredFile):
    """One pair. ``file`` is the reference's path, ``seconds`` and ``channels`` are its own."""

    decoded: str
    decoded_seconds: float
    sample_rate: int
    decoded_sample_rate: int


@dataclass
class PairScores:
    """The result of :func:`score_files`.

    ``unpaired`` has a line for each file without a partner or that cannot be read, ``remarks`` one
    for each pair of different lengths.
    """

    references: str
    decoded: str
    metrics: tuple[str, ...]
    rows: list[PairRow] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def mean(self, metric: str) -> Mean | None:
        """The mean of a metric over the pairs that have it."""
        return Mean.of([row.scores[metric] for row in self.rows if metric in row.scores])

    @property
    def failures(self) -> list[str]:
        """A line for each file without a partner, unreadable file and missing score."""
        return self.unpaired + [
            f"{row.file}: no {METRICS[metric].title}: {reason}"
            for row in self.rows
            for metric, reason in row.reasons.items()
        ]

    def table(self) -> str:
        """Means and failures as text of under 100 columns."""
        rates = sorted({row.sample_rate for row in self.rows})
        lags = sorted(self._lags_ms())
        lines = [
            f"{self.decoded} against {self.references}, files: {len(self.rows)}, "
            f"{sum(row.seconds for row in self.rows):.1f} s at {', '.join(map(str, rates))} Hz",
            "",
            *columns(
                [
                    metric_titles(self.metrics),
                    [mean_cell(metric, self.mean(metric)) for metric in self.metrics],
                ]
            ),
            "",
            MEAN_LEGEND + " delays removed before scoring:",
            f"{lags[0]:.1f} to {lags[-1]:.1f} ms, median {median(lags):.1f} ms; "
            "unaligned: SI-SDR without removing the delay",
        ]
        if self.failures:
            lines += ["", *failure_lines(self.failures)]
        return "\n".join(lines)

    def _lags_ms(self) -> list[float]:
        return [1000 * row.lag_samples / row.sample_rate for row in self.rows]

    def write_csv(self, path: str | Path) -> None:
        """Write one line for each pair; ``failed`` has the reasons for scores that are empty.

        Raises:
            CodecError: the file cannot be written.
        """
        plain = ["file", "decoded", "seconds", "decoded_seconds", "channels", "sample_rate"]
        plain += ["decoded_sample_rate", "lag_samples"]
        lines = [
            [*(getattr(row, name) for name in plain), *score_cells(row, self.metrics)]
            for row in self.rows
        ]
        write_lines(path, [*plain, *self.metrics, "failed"], lines)

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rows, for JSON."""
        means = {metric: self.mean(metric) for metric in self.metrics}
        return {
            "references": self.references,
            "decoded": self.decoded,
            "files": len(self.rows),
            "seconds": sum(row.seconds for row in self.rows),
            "scores": {metric: asdict(mean) if mean else None for metric, mean in means.items()},
            "lag_ms": median(self._lags_ms()),
            "remarks": self.remarks,
            "failures": self.failures,
        }


def score_files(
    references: str | Path,
    decoded: str | Path,
    *,
    metrics: Sequence[str] = (),
    jobs: int = 1,
    progress: bool = False,
) -> PairScores:
    """Score the files of one folder against those of another, or one file against another.

    A file without a partner and a file that cannot be read are listed in the result's ``unpaired``.

    Args:
        references: a folder, or a file.
        decoded: likewise, of the decoded audio.
        metrics: names of optional metrics to compute too, such as ``"distill_mos"``.
        jobs: scoring processes.
        progress: show a progress bar on stderr.

    Raises:
        CodecError: a path does not exist, no pair could be read, a metric does not exist, or its
            package is not installed.
    """
    check_installed("scoring", metrics)
    selected = select_metrics(metrics)
    result = PairScores(str(references), str(decoded), tuple(selected))
    partners = _partners(Path(references), Path(decoded), result.unpaired)
    with progress_bar(len(partners), "files", "score", progress) as bar:
        for start in range(0, len(partners), PAIRS_PER_TURN * jobs):
            pairs: list[Pair[PairRow]] = []
            for reference, reconstruction in partners[start : start + PAIRS_PER_TURN * jobs]:
                try:
                    pairs.append(_load(reference, reconstruction, result.remarks))
                except CodecError as error:
                    result.unpaired.append(str(error))
                    bar.update()
            for row in score_pairs(pairs, selected, jobs):
                result.rows.append(row)
                bar.update()
    if not result.rows:
        raise CodecError(f"nothing could be scored; the first failure: {result.unpaired[0]}")
    return result


def _partners(references: Path, decoded: Path, unpaired: list[str]) -> list[tuple[Path, Path]]:
    """Reference and decoded file of each pair, sorted. Files without a partner are ``unpaired``."""
    if references.is_file() and decoded.is_file():
        return [(references, decoded)]
    for path, other in ((references, decoded), (decoded, references)):
        if path.is_file() and other.is_dir():
            raise CodecError(f"{path}: is a file and {other} a folder; name two of a kind")
    first, second = (_by_path(folder, unpaired) for folder in (references, decoded))
    for key in sorted(first.keys() - second.keys()):
        unpaired.append(f"{first[key]}: no decoded file {decoded / key}.* for it")
    for key in sorted(second.keys() - first.keys()):
        unpaired.append(f"{second[key]}: no reference {references / key}.* for it")
    return [(first[key], second[key]) for key in sorted(first.keys() & second.keys())]


def _by_path(folder: Path, unpaired: list[str]) -> dict[Path, Path]:
    """Audio files by their path in ``folder`` without suffix. A second file is ``unpaired``."""
    files: dict[Path, Path] = {}
    for file in find_audio(folder, lambda _, line: unpaired.append(line)):
        first = files.setdefault(file.relative_to(folder).with_suffix(""), file)
        if first != file:
            unpaired.append(f"{file}: {first} has the same name; only that one is scored")
    return files


def _load(reference_path: Path, decoded_path: Path, remarks: list[str]) -> Pair[PairRow]:
    """Load both files at the reference's sample rate.

    Raises:
        CodecError: a file cannot be read, or the numbers of channels differ.
    """
    reference, rate = load_audio(reference_path)
    reconstruction, _ = load_audio(decoded_path, rate)
    if len(reference) != len(reconstruction):
        raise CodecError(
            f"{decoded_path}: channels: {len(reconstruction)}, but {reference_path} has "
            f"{len(reference)}; convert one of them"
        )
    seconds, decoded_seconds = reference.shape[1] / rate, reconstruction.shape[1] / rate
    if not math.isclose(seconds, decoded_seconds, rel_tol=0, abs_tol=LENGTH_TOLERANCE):
        remarks.append(
            f"{decoded_path}: lasts {decoded_seconds:.2f} s, {reference_path} {seconds:.2f} s; "
            "only what both have is scored"
        )
    row = PairRow(
        str(reference_path),
        seconds,
        len(reference),
        decoded=str(decoded_path),
        decoded_seconds=decoded_seconds,
        sample_rate=rate,
        decoded_sample_rate=audio_info(decoded_path).sample_rate,
    )
    return Pair(row, reconstruction.numpy(), reference.numpy(), rate)
