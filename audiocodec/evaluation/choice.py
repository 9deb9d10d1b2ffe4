"""Which of several models to keep: the one that gains most where none of its scores falls.

Scores trade against each other: losses after PESQ raise PESQ and lower naturalness, discriminators
do the opposite. So no single score chooses. A candidate is refused if any judged score is worse
than that of the first system beyond the 95 % confidence interval of the paired difference. Of the
others, the one with the greatest gain is chosen, and the first system if no gain is above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from audiocodec.errors import CodecError
from audiocodec.evaluation.differences import Difference, Differences
from audiocodec.evaluation.metrics import METRICS
from audiocodec.evaluation.systems import RATES


@dataclass(frozen=True)
class Candidate:
    """A system beside the first.

    Attributes:
        name: as in the differences.
        gain: mean over judged scores and numbers of codebooks of the improvement in units of half
            its confidence interval: 1 is an improvement that is just distinguishable.
        worse: the judged scores that are worse beyond their interval, in words.
        missing: judged scores that the candidate has not.
        unjudged: other scores that are worse beyond their interval, in words.
    """

    name: str
    gain: float
    worse: list[str]
    missing: list[str]
    unjudged: list[str]

    @property
    def refused(self) -> bool:
        """Whether it cannot be chosen."""
        return bool(self.worse or self.missing)


@dataclass(frozen=True)
class Choice:
    """The chosen system, and why."""

    first: str
    chosen: str
    judged: list[str]
    candidates: list[Candidate]

    def text(self) -> str:
        """The choice, and a line for each candidate."""
        lines = [f"chosen: {self.chosen}, judged by {', '.join(map(_title, self.judged))}"]
        for each in self.candidates:
            line = f"{each.name}: gain {each.gain:+.2f}"
            if each.missing:
                line += f"; refused, has no {', '.join(map(_title, each.missing))}"
            if each.worse:
                line += f"; refused, worse in {', '.join(each.worse)}"
            if each.unjudged:
                line += f"; not judged, but worse: {', '.join(each.unjudged)}"
            lines.append(line)
        return "\n".join([*lines, *LEGEND])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


LEGEND = (
    "gain: mean improvement on the first system, in units of half its confidence interval.",
    "Refused: a judged score is worse than that of the first system beyond its interval.",
)


def choose(differences: Differences, judged: Sequence[str] = ()) -> Choice:
    """Choose among the systems of ``differences``; the first of them is the one in use.

    Args:
        differences: of the scores of the same files, at least two.
        judged: names of the scores that decide. By default all that the first system has, for
            which higher or lower is better.

    Raises:
        CodecError: none of the judged scores is there, or all come from a single file.
    """
    first = differences.found[0].first
    found = [each for each in differences.found if each.first == first]
    names = list(judged) or list(dict.fromkeys(each.score for each in found if _sign(each.score)))
    if not any(each.score in names and each.difference.ci95 is not None for each in found):
        raise CodecError(
            f"{first}: has no {', '.join(names)} of two files or more; evaluate with --metrics"
        )
    by_name: dict[str, list[Difference]] = {}
    for each in found:
        by_name.setdefault(each.second, []).append(each)
    candidates = [_candidate(name, scores, names) for name, scores in by_name.items()]
    eligible = [each for each in candidates if not each.refused and each.gain > 0]
    best = max(eligible, key=lambda each: each.gain, default=None)
    return Choice(first, best.name if best else first, names, candidates)


def _candidate(name: str, found: Sequence[Difference], judged: Sequence[str]) -> Candidate:
    gains = [
        _sign(each.score) * each.difference.mean / each.difference.ci95
        for each in found
        if each.score in judged and each.difference.ci95
    ]
    falls = [each for each in found if _falls(each)]
    return Candidate(
        name,
        sum(gains) / len(gains) if gains else 0.0,
        [_words(each) for each in falls if each.score in judged],
        [score for score in judged if not any(each.score == score for each in found)],
        [_words(each) for each in falls if each.score not in judged],
    )


def _falls(each: Difference) -> bool:
    """Whether the second system is worse beyond the interval."""
    return bool(each.distinguishable) and _sign(each.score) * each.difference.mean < 0


def _sign(score: str) -> int:
    """1 if a higher score is better, -1 if a lower one is, 0 if neither."""
    better = "lower" if score in RATES else METRICS[score].better
    return {"higher": 1, "lower": -1, "": 0}[better]


def _title(score: str) -> str:
    return RATES.get(score) or METRICS[score].title


def _words(each: Difference) -> str:
    number = "" if each.num_codebooks is None else f" with {each.num_codebooks}"
    return f"{_title(each.score)}{number} ({each.difference.mean:+.3g} ±{each.difference.ci95:.2g})"
