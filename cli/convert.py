"""What encode and decode share: the bar, the report and the exit code."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import click

from .options import quiet

if TYPE_CHECKING:
    from audiocodec.batch.jobs import Batch, BatchingPolicy, Job, Plan
    from audiocodec.files import FileResult, Progress

PIPE = "-"

Work = Callable[["Job", "Progress"], "FileResult"]


def pipe_plan(paths: Sequence[str], suffixes: Sequence[str]) -> Plan | None:
    """The one job of ``- [OUT]`` or ``IN -``, or ``None`` where no path is ``-``.

    Raises:
        CodecError: more paths than that, or an output file without one of the ``suffixes``.
    """
    from audiocodec.batch.jobs import Job, Plan, check_file_name
    from audiocodec.errors import CodecError

    if PIPE not in paths:
        return None
    source, *rest = paths
    if len(rest) > 1 or (source != PIPE and rest != [PIPE]):
        raise CodecError("`-` stands for one pipe: give `- OUT`, `IN -` or `- -`")
    if rest and rest != [PIPE]:
        if rest[0].endswith("/"):
            raise CodecError(f"{rest[0]}: is a folder, and stdin has no name; name a file in it")
        check_file_name(rest[0], suffixes)
    return Plan(single=True, pipe=True, jobs=[Job(Path(source), Path(*rest or [PIPE]))])


def opened(path: Path, mode: Literal["rb", "wb"], plan: Plan) -> Path | BinaryIO:
    """Of a pipe's plan, stdin or stdout for the path ``-``; any other path as it is.

    Raises:
        CodecError: bytes that would go to, or be typed at, a terminal.
    """
    if not plan.pipe or str(path) != PIPE:
        return path
    return open_pipe(mode)


def open_pipe(mode: Literal["rb", "wb"]) -> BinaryIO:
    """stdin or stdout for bytes.

    Raises:
        CodecError: it is a terminal.
    """
    from audiocodec.errors import CodecError

    name, end = ("stdin", sys.stdin) if mode == "rb" else ("stdout", sys.stdout)
    if end.isatty():
        mend = "pipe data into it" if mode == "rb" else "redirect it to a file or a pipe"
        raise CodecError(f"{name}: is a terminal; {mend}")
    # Reading waits for whole fields, so it is buffered; what is written must leave at once.
    buffering = -1 if mode == "rb" else 0
    return open(end.fileno(), mode, buffering=buffering, closefd=False)


def convert(
    plan: Plan,
    work: Work,
    overwrite: bool,
    as_json: bool,
    check_done: Callable[[Job], None] | None = None,
    seconds: Callable[[Job], float] | None = None,
    workers: int = 1,
    batching: Callable[[Progress], BatchingPolicy[FileResult]] | None = None,
    reuse: Callable[[Job], FileResult | None] | None = None,
    threads: int = 1,
) -> None:
    """Do the plan with a bar on stderr, report, and exit with 1 if anything failed.

    Several files are done ``workers`` at a time, each on ``threads``: so the bytes that come out do
    not depend on how many files there are. A file alone has the threads that PyTorch has. Where
    ``batching`` is given, several short ones are done in batches.

    The report goes to stdout, unless audio or tokens go there: then to stderr.

    The bar counts files; for a single file, seconds of audio out of ``seconds(job)``. With --quiet
    there is no bar and no report other than failures and what --json prints.
    """
    import torch

    from audiocodec.batch.jobs import Stop, run_jobs
    from audiocodec.progress import progress_bar

    piped = plan.pipe and any(str(job.target) == PIPE for job in plan.jobs)
    alone = plan.single and len(plan.jobs) == 1
    stop = Stop()
    started = time.perf_counter()
    before = torch.get_num_threads()
    total: float | None = len(plan.jobs)
    if alone:
        live = plan.pipe and str(plan.jobs[0].source) == PIPE
        total = round(seconds(plan.jobs[0]), 1) or None if seconds and not live else None
    with progress_bar(total, "s of audio" if alone else "files") as bar:
        try:
            if not plan.single:
                torch.set_num_threads(threads)
            batch = run_jobs(
                plan,
                work=lambda job: work(
                    job, (lambda step: bar.update(step)) if alone else lambda step: stop.check()
                ),
                overwrite=overwrite or piped,
                check_done=check_done,
                after=None if alone else lambda job: bar.update(1),
                workers=max(1, min(workers, len(plan.jobs))),
                stop=stop,
                batching=batching(lambda step: stop.check())
                if batching and len(plan.jobs) > 1
                else None,
                reuse=reuse,
            )
        finally:
            torch.set_num_threads(before)
    cut = [result for result in batch.results if result.truncated]
    if as_json:
        click.echo(json.dumps(as_dict(batch), indent=2), err=piped)
    elif quiet():
        pass
    elif plan.single:
        for result in batch.results:
            click.echo(line(result), err=piped)
    else:
        click.echo(summary(batch, time.perf_counter() - started))
    for result in cut:
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
    if batch.failures or cut:
        click.get_current_context().exit(1)


def cut_short(name: object, missing_seconds: float = 0.0) -> str:
    """The warning that an input ends early; ``missing_seconds`` is 0 where it is not known."""
    missing = f", {missing_seconds:.2f} s are missing" if missing_seconds else ""
    return f"warning: {name}: cut short{missing}"


def line(result: FileResult) -> str:
    """One file's result."""
    return (
        f"{result.source} -> {result.target}: {result.seconds:.2f} s, "
        f"{result.num_codebooks} codebooks, {result.bitrate / 1000:.2f} kbit/s, "
        f"{result.seconds / result.elapsed:.0f}x real time"
        + (", cut from the codes that were there" if result.reused else "")
    )


def summary(batch: Batch[FileResult], elapsed: float) -> str:
    """The result of many files, which took ``elapsed`` seconds together, in one line."""
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
    """For ``--json``."""
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
