"""What encode and decode share: from paths to a plan, and from a plan to files and a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .lists import listed_paths
from .pipes import PIPE, pipe_plan
from .report import print_report

if TYPE_CHECKING:
    from audiocodec.batch.grouping import BatchingPolicy
    from audiocodec.batch.plan import Job, Plan
    from audiocodec.paths import Report
    from audiocodec.progress import Progress
    from audiocodec.results import FileResult

Work = Callable[["Job", "Progress"], "FileResult"]


def make_plan(
    paths: Sequence[str],
    files_from: str | None,
    is_input: Callable[[Path], bool],
    find: Callable[[Path, Report], list[Path]],
    name_beside: Callable[[Path], str],
    name_in_output: Callable[[Path], str],
    suffixes: Sequence[str],
) -> Plan:
    """The plan of `IN... [OUT]`, of a pipe, or of `--files-from`.

    ``is_input`` is that of :func:`~audiocodec.batch.plan.split_paths`; the other arguments are
    those of :func:`~audiocodec.batch.plan.plan_jobs`.
    """
    from audiocodec.batch.plan import plan_jobs, split_paths

    if not files_from and (plan := pipe_plan(paths, suffixes)):
        return plan
    inputs, output = listed_paths(paths, files_from) if files_from else split_paths(paths, is_input)
    return plan_jobs(
        inputs, output, find, name_beside, name_in_output, suffixes, listed=bool(files_from)
    )


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
    threads: int | None = 1,
) -> None:
    """Run the plan with a progress bar, print the report, and exit with 1 if anything failed.

    Several files are converted ``workers`` at a time, each on ``threads`` CPU threads, so that the
    results do not depend on the number of files. A single file uses PyTorch's own number. Work
    without PyTorch has ``threads=None``. With ``batching``, short files are converted in batches.

    The report goes to stdout, or to stderr if audio or tokens go to stdout.

    The bar counts files; for a single file, seconds of audio out of ``seconds(job)``. With --quiet
    there is no bar, and only failures and --json are printed.
    """
    from audiocodec.batch.run import run_jobs
    from audiocodec.progress import progress_bar
    from audiocodec.threads import Stop

    to_stdout = plan.pipe and any(str(job.target) == PIPE for job in plan.jobs)
    one_file = plan.single and len(plan.jobs) == 1
    stop = Stop()
    started = time.perf_counter()
    with (
        progress_bar(_total(plan, seconds), "s of audio" if one_file else "files") as bar,
        nullcontext() if plan.single or threads is None else _torch_threads(threads),
    ):

        def check_stop(_: float) -> None:
            stop.check()

        def show_seconds(step: float) -> None:
            bar.update(step)

        progress = show_seconds if one_file else check_stop
        batch = run_jobs(
            plan,
            work=lambda job: work(job, progress),
            overwrite=overwrite or to_stdout,
            check_done=check_done,
            after=None if one_file else lambda job: bar.update(1),
            workers=max(1, min(workers, len(plan.jobs))),
            stop=stop,
            batching=batching(check_stop) if batching and len(plan.jobs) > 1 else None,
            reuse=reuse,
        )
    print_report(batch, plan, time.perf_counter() - started, as_json, to_stderr=to_stdout)
    if batch.failures or any(result.truncated for result in batch.results):
        click.get_current_context().exit(1)


def _total(plan: Plan, seconds: Callable[[Job], float] | None) -> float | None:
    """The length of the progress bar; ``None`` if it is unknown."""
    if not plan.single or len(plan.jobs) != 1:
        return len(plan.jobs)
    from_stdin = plan.pipe and str(plan.jobs[0].source) == PIPE
    return round(seconds(plan.jobs[0]), 1) or None if seconds and not from_stdin else None


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """Inside, PyTorch computes on this many threads."""
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)
