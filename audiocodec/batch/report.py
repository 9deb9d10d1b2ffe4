"""The results of many jobs: files made, files skipped and failures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from audiocodec.batch.plan import Job
from audiocodec.errors import CodecError

Result = TypeVar("Result")

NAMED_TOGETHER = 3
"""A line about many files names this many of them."""


class OutputDiffers(CodecError):
    """An existing output is not what its job would make.

    Args:
        target: the output.
        one: the difference, for a line about this file.
        many: the difference, for a line about many files.
        remedy: what ``--overwrite`` does to ``{}``.
    """

    def __init__(self, target: str | Path, one: str, many: str, remedy: str) -> None:
        super().__init__(f"{target}: {one}; --overwrite {remedy.format('it')}")
        self.target, self.many = Path(target), many
        self.remedy = f"--overwrite {remedy.format('them')}"


@dataclass
class Batch(Generic[Result]):
    """Results, jobs whose outputs already existed, and an error line for each failure.

    ``differing`` are the failures that are existing outputs of another kind.
    """

    results: list[Result] = field(default_factory=list)
    skipped: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    differing: list[OutputDiffers] = field(default_factory=list)

    def failure_lines(self) -> list[str]:
        """The failures in order. Outputs that differ in the same way share one line."""
        alike: dict[tuple[str, str], list[OutputDiffers]] = {}
        for error in self.differing:
            alike.setdefault((error.many, error.remedy), []).append(error)
        lines = {failure: failure for failure in self.failures}
        for (many, remedy), errors in alike.items():
            if len(errors) > 1:
                names = [str(error.target) for error in errors[:NAMED_TOGETHER]]
                names += ["..."] if len(errors) > NAMED_TOGETHER else []
                line = f"{len(errors)} {many} ({', '.join(names)}); {remedy}"
                lines |= {str(error): line for error in errors}
        return list(dict.fromkeys(lines.values()))


def format_error(job: Job, error: Exception) -> str:
    """The error line of a failed job."""
    if isinstance(error, CodecError):
        return str(error)
    reason = (str(error).splitlines() or [""])[0]
    return f"{job.source}: {type(error).__name__}: {reason}"
