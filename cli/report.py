"""What encode and decode print about their results."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from .options import quiet

if TYPE_CHECKING:
    from audiocodec.batch.plan import Plan
    from audiocodec.batch.report import Batch
    from audiocodec.results import FileResult


def print_report(
    batch: Batch[FileResult], plan: Plan, elapsed: float, as_json: bool, to_stderr: bool
) -> None:
    """Results to stdout, or to stderr; warnings and errors to stderr.

    Args:
        elapsed: seconds of all of the work.
    """
    if as_json:
        click.echo(json.dumps(as_dict(batch), indent=2), err=to_stderr)
    elif quiet():
        pass
    elif plan.single:
        for result in batch.results:
            click.echo(line(result), err=to_stderr)
    else:
        click.echo(summary(batch, elapsed))
    for result in batch.results:
        if result.truncated:
            click.echo(
                f"{cut_short(result.source, result.missing_seconds)}; {result.target} holds the "
                f"{result.seconds:.2f} s up to the cut",
                err=True,
            )
    for result in batch.results:
        if result.peak > 1:
            click.echo(
                f"warning: {result.source}: peaks of {result.peak:.2f}; what is above 1.0 is "
                "clipped when it is decoded; scale the audio first",
                err=True,
            )
    for failure in batch.failure_lines():
        click.echo(f"error: {failure}", err=True)


def cut_short(name: object, missing_seconds: float = 0.0) -> str:
    """The warning that an input ends early; ``missing_seconds`` is 0 if it is unknown."""
    missing = f", {missing_seconds:.2f} s are missing" if missing_seconds else ""
    return f"warning: {name}: cut short{missing}"


def line(result: FileResult) -> str:
    """The line about one file."""
    return (
        f"{result.source} -> {result.target}: {result.seconds:.2f} s"
        + (f" from {result.start:.2f} s on" if result.start else "")
        + f", {result.num_codebooks} codebooks, {result.bitrate / 1000:.2f} kbit/s, "
        f"{result.seconds / result.elapsed:.0f}x real time"
        + (", cut from the codes that were there" if result.reused else "")
    )


def summary(batch: Batch[FileResult], elapsed: float) -> str:
    """The line about many files, which took ``elapsed`` seconds together."""
    seconds = sum(result.seconds for result in batch.results)
    parts = [f"{len(batch.results)} files done"]
    if batch.results:
        parts[0] += f" ({seconds:.1f} s of audio, {seconds / elapsed:.0f}x real time)"
    if reused := sum(result.reused for result in batch.results):
        parts.append(f"{reused} of them cut from the codes that were there")
    if batch.skipped:
        parts.append(f"{len(batch.skipped)} there already (--overwrite replaces them)")
    if batch.failures:
        parts.append(f"{len(batch.failures)} failed")
    return ", ".join(parts)


def as_dict(batch: Batch[FileResult]) -> dict[str, object]:
    """The object that ``--json`` prints."""
    return {
        "files": [
            {
                name: value if isinstance(value, (int, float)) else str(value)
                for name, value in dataclasses.asdict(result).items()
            }
            for result in batch.results
        ],
        "skipped": [str(job.target) for job in batch.skipped],
        "failures": batch.failures,
    }
