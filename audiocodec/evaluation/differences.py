"""Which of several evaluations differ: paired differences of the scores that were saved as CSV.

Systems are compared on the files that both have a score of, with equal numbers of codebooks. Scores
vary most from file to file, so differences file by file are known far better than means are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics import METRICS
from audiocodec.evaluation.rows import Mean
from audiocodec.evaluation.systems import RATES, System
from audiocodec.evaluation.tables import columns

LEGEND = (
    "difference: second minus first, mean over the files that both have, ± 95 % confidence",
    "interval (paired, Student's t). Not distinguishable: 0 is in the interval. That proves no",
    "equality: the interval says how large a difference may be. Of 20 comparisons without any",
    "difference, one is called distinguishable by chance.",
)


@dataclass(frozen=True)
class Difference:
    """Two systems by one score with one number of codebooks: ``second`` minus ``first``.

    Attributes:
        first_mean, second_mean: over the files that both have.
        difference: mean and half its 95 % confidence interval.
    """

    first: str
    second: str
    num_codebooks: int | None
    score: str
    first_mean: float
    second_mean: float
    difference: Mean

    @property
    def distinguishable(self) -> bool | None:
        """Whether the interval excludes 0; None of one file, which has no interval."""
        half = self.difference.ci95
        return None if half is None else abs(self.difference.mean) > half

    @property
    def verdict(self) -> str:
        """In words."""
        if self.distinguishable is None:
            return "one file: no interval"
        if not self.distinguishable:
            return "not distinguishable"
        higher = self.difference.mean > 0
        if self.score in RATES:
            return "second takes more" if higher else "second takes less"
        better = METRICS[self.score].better
        if not better:
            return "second is higher" if higher else "second is lower"
        return f"{'second' if higher == (better == 'higher') else 'first'} is better"


@dataclass(frozen=True)
class Differences:
    """All differences, pair by pair, and remarks on what could not be compared."""

    found: list[Difference]
    remarks: list[str]

    def table(self) -> str:
        """A table for each pair, and what the columns mean."""
        parts: list[str] = []
        for pair in dict.fromkeys((each.first, each.second) for each in self.found):
            lines = [["n", "score", "files", "first", "second", "difference", "verdict"]]
            lines += [_cells(each) for each in self.found if (each.first, each.second) == pair]
            width = max(len(line[-1]) for line in lines)
            lines = [[*line[:-1], line[-1].ljust(width)] for line in lines]
            rows = [line.rstrip() for line in columns(lines)]
            parts.append("\n".join([f"first: {pair[0]}, second: {pair[1]}", "", *rows]))
        parts.append("\n".join(LEGEND))
        return "\n\n".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        differences = [
            {**asdict(each), "distinguishable": each.distinguishable, "verdict": each.verdict}
            for each in self.found
        ]
        return {"differences": differences, "remarks": self.remarks}


def find_differences(systems: Sequence[System], among_all: bool = True) -> Differences:
    """Compare every system with those before it, or only with the first.

    Raises:
        CodecError: fewer than two systems, or no file and score in common.
    """
    if len(systems) < 2:
        raise CodecError("one system cannot be compared; name two CSVs, or one of two models")
    labels = _labels(systems)
    found: list[Difference] = []
    remarks: list[str] = []
    for second in range(1, len(systems)):
        for first in range(second if among_all else 1):
            pair = labels[first], labels[second]
            these = _compare(systems[first], systems[second], pair, remarks)
            if not these:
                remarks.append(
                    f"{pair[0]} and {pair[1]}: no file and number of codebooks in common"
                )
            found += these
    if not found:
        raise CodecError(f"{remarks[-1]}; evaluate both on the same files, named the same way")
    return Differences(found, remarks)


def _compare(
    first: System, second: System, labels: tuple[str, str], remarks: list[str]
) -> list[Difference]:
    """Differences in the numbers of codebooks, files and scores that both have."""
    found = []
    for count in _shared_counts(first, second):
        ours, theirs = (system.scores.get(count, system.any_count) for system in (first, second))
        shared = [file for file in ours if file in theirs]
        if shared and len(shared) < max(len(ours), len(theirs)):
            number = "" if count is None else f" with {count} codebooks"
            remarks.append(
                f"{labels[0]} and {labels[1]}{number}: {len(shared)} files in common, of "
                f"{len(ours)} and {len(theirs)}"
            )
        for score in (*RATES, *METRICS):
            pairs = [
                (ours[file][score], theirs[file][score])
                for file in shared
                if score in ours[file] and score in theirs[file]
            ]
            if mean := Mean.of([b - a for a, b in pairs]):
                ours_mean, theirs_mean = np.mean(pairs, axis=0).tolist()
                found.append(Difference(*labels, count, score, ours_mean, theirs_mean, mean))
    return found


def _shared_counts(first: System, second: System) -> list[int | None]:
    """The numbers of codebooks to compare; another codec is compared with each of a model."""
    if first.any_count:
        return list(second.scores)
    return [count for count in first.scores if second.any_count or count in second.scores]


def _labels(systems: Sequence[System]) -> list[str]:
    """The systems' names; where one occurs twice, with the source, and then with a number."""
    names = [system.name for system in systems]
    labels: list[str] = []
    for system in systems:
        label = system.name
        if names.count(label) > 1:
            label = f"{label} ({system.source})"
        if label in labels:
            label = f"{label} #{labels.count(label) + 1}"
        labels.append(label)
    return labels


def _cells(each: Difference) -> list[str]:
    form = ".2f" if each.score in RATES else METRICS[each.score].format
    title = RATES.get(each.score) or METRICS[each.score].title
    half = each.difference.ci95
    finer = f"{form.rstrip('f').lstrip('+')[:-1]}{int(form[-2]) + 1}f"
    interval = "" if half is None else f" ±{half:{finer}}"
    return [
        "-" if each.num_codebooks is None else str(each.num_codebooks),
        title,
        str(each.difference.count),
        f"{each.first_mean:{form}}",
        f"{each.second_mean:{form}}",
        f"{each.difference.mean:+{finer}}{interval}",
        each.verdict,
    ]
