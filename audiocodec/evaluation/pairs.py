"""Score decoded files of any codec against their references.

A pair is a reference and a decoded file of the same path from their folders, without the suffix:
``ref/a/1.flac`` and ``decoded/a/1.wav``. The decoded file is resampled to the reference's sample
rate. Scores are those of :func:`audiocodec.evaluation.evaluate`, after a delay of up to 50 ms is
undone.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from audiocodec.audio import audio_info, find_audio, load_audio
from audiocodec.errors import CodecError
from audiocodec.evaluation.mos import load_distill_mos
from audiocodec.evaluation.result import (
    MEAN_LEGEND,
    SCORES,
    Mean,
    ScoredFile,
    columns,
    failure_lines,
    mean_cell,
    score_cells,
    write_lines,
)
from audiocodec.evaluation.scoring import Pair, score_pairs
from audiocodec.progress import progress_bar

PAIRS_PER_TURN = 16  # for each worker: audio that waits in memory to be scored
LENGTH_TOLERANCE = 0.1  # s: codecs pad to whole frames


@dataclass(kw_only=True)
class PairRow(ScoredFile):
    """One pair. ``seconds`` and ``channels`` are the reference's; ``file`` is its path."""

    decoded: str
    decoded_seconds: float
    sample_rate: int
    decoded_sample_rate: int


@dataclass
class PairScores:
    """The result of :func:`score_files`.

    ``unpaired`` has a line for each file without a partner or that could not be read, ``remarks``
    one for each pair of different lengths.
    """

    references: str
    decoded: str
    scores: tuple[str, ...]
    rows: list[PairRow] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def mean(self, score: str) -> Mean | None:
        """The mean of a score over the pairs that have it."""
        return Mean.of([row.scores[score] for row in self.rows if score in row.scores])

    @property
    def failures(self) -> list[str]:
        """What has no partner, could not be read or could not be scored."""
        return self.unpaired + [
            f"{row.file}: no {SCORES[score][0]}: {reason}"
            for row in self.rows
            for score, reason in row.reasons.items()
        ]

    def table(self) -> str:
        """Means and intervals and what failed, as text of under 100 columns."""
        rates = sorted({row.sample_rate for row in self.rows})
        lags = sorted(1000 * row.lag_samples / row.sample_rate for row in self.rows)
        lines = [
            f"{self.decoded} against {self.references}, files: {len(self.rows)}, "
            f"{sum(row.seconds for row in self.rows):.1f} s at {', '.join(map(str, rates))} Hz",
            "",
            *columns(
                [
                    [SCORES[score][0] for score in self.scores],
                    [mean_cell(score, self.mean(score)) for score in self.scores],
                ]
            ),
            "",
            MEAN_LEGEND + " delays undone before scoring:",
            f"{lags[0]:.1f} to {lags[-1]:.1f} ms, median {median(lags):.1f} ms; "
            "unaligned: SI-SDR with the delay left in",
        ]
        if self.failures:
            lines += ["", *failure_lines(self.failures)]
        return "\n".join(lines)

    def write_csv(self, path: str | Path) -> None:
        """Every pair, one a line; a score that could not be had is empty and ``failed`` says why.

        Raises:
            CodecError: the place is not writable.
        """
        plain = ["file", "decoded", "seconds", "decoded_seconds", "channels", "sample_rate"]
        plain += ["decoded_sample_rate", "lag_samples"]
        lines = [
            [*(getattr(row, name) for name in plain), *score_cells(row, self.scores)]
            for row in self.rows
        ]
        write_lines(path, [*plain, *self.scores, "failed"], lines)

    def as_dict(self) -> dict[str, Any]:
        """All but the rows, for JSON."""
        means = {score: self.mean(score) for score in self.scores}
        return {
            "references": self.references,
            "decoded": self.decoded,
            "files": len(self.rows),
            "seconds": sum(row.seconds for row in self.rows),
            "scores": {score: asdict(mean) if mean else None for score, mean in means.items()},
            "lag_ms": median(1000 * row.lag_samples / row.sample_rate for row in self.rows),
            "remarks": self.remarks,
            "failures": self.failures,
        }


def score_files(
    references: str | Path,
    decoded: str | Path,
    jobs: int = 1,
    mos: bool = False,
    progress: bool = False,
) -> PairScores:
    """Score the files of one folder against those of another, or one file against another.

    ``jobs`` processes score; ``mos`` adds DistillMOS; ``progress`` draws a bar on stderr. A file
    without a partner, or one that cannot be read, is named in the result's ``unpaired``.

    Raises:
        CodecError: nothing there, no pair could be read, or DistillMOS is not installed.
    """
    if mos:
        load_distill_mos()
    result = PairScores(
        str(references),
        str(decoded),
        scores=tuple(name for name in SCORES if mos or name != "distill_mos"),
    )
    partners = _partners(Path(references), Path(decoded), result.unpaired)
    with progress_bar(len(partners), "files", "score", progress) as bar:
        for start in range(0, len(partners), PAIRS_PER_TURN * jobs):
            waiting: list[Pair[PairRow]] = []
            for early, late in partners[start : start + PAIRS_PER_TURN * jobs]:
                try:
                    waiting.append(_load(early, late, result.remarks))
                except CodecError as error:
                    result.unpaired.append(str(error))
                    bar.update()
            for row in score_pairs(waiting, jobs, mos):
                result.rows.append(row)
                bar.update()
    if not result.rows:
        raise CodecError(f"nothing could be scored; the first failure: {result.unpaired[0]}")
    return result


def _partners(references: Path, decoded: Path, unpaired: list[str]) -> list[tuple[Path, Path]]:
    """Reference and decoded file of each pair, sorted; what has no partner is named."""
    if references.is_file() and decoded.is_file():
        return [(references, decoded)]
    for path, other in ((references, decoded), (decoded, references)):
        if path.is_file() and other.is_dir():
            raise CodecError(f"{path}: is a file and {other} a folder; name two of a kind")
    early, late = (_by_path(folder, unpaired) for folder in (references, decoded))
    for key in sorted(early.keys() - late.keys()):
        unpaired.append(f"{early[key]}: no decoded file {decoded / key}.* for it")
    for key in sorted(late.keys() - early.keys()):
        unpaired.append(f"{late[key]}: no reference {references / key}.* for it")
    return [(early[key], late[key]) for key in sorted(early.keys() & late.keys())]


def _by_path(folder: Path, unpaired: list[str]) -> dict[Path, Path]:
    """Audio files by their path in ``folder`` without suffix; the second of a path is named."""
    found: dict[Path, Path] = {}
    for file in find_audio(folder, lambda _, line: unpaired.append(line)):
        first = found.setdefault(file.relative_to(folder).with_suffix(""), file)
        if first != file:
            unpaired.append(f"{file}: {first} has the same name; only that one is scored")
    return found


def _load(reference: Path, decoded: Path, remarks: list[str]) -> Pair[PairRow]:
    """Both files at the reference's sample rate.

    Raises:
        CodecError: not readable, or different numbers of channels.
    """
    early, rate = load_audio(reference)
    late, _ = load_audio(decoded, rate)
    if len(early) != len(late):
        raise CodecError(
            f"{decoded}: channels: {len(late)}, but {reference} has {len(early)}; "
            "convert one of them"
        )
    seconds, decoded_seconds = early.shape[1] / rate, late.shape[1] / rate
    if not math.isclose(seconds, decoded_seconds, rel_tol=0, abs_tol=LENGTH_TOLERANCE):
        remarks.append(
            f"{decoded}: lasts {decoded_seconds:.2f} s, {reference} {seconds:.2f} s; "
            "only what both have is scored"
        )
    row = PairRow(
        str(reference),
        seconds,
        len(early),
        decoded=str(decoded),
        decoded_seconds=decoded_seconds,
        sample_rate=rate,
        decoded_sample_rate=audio_info(decoded).sample_rate,
    )
    return Pair(row, late.numpy(), early.numpy(), rate)
