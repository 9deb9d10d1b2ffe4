"""Running the jobs of a plan on several threads.

A file that fails does not stop the others. Inputs are never changed, and existing outputs stay as
they are unless they are to be overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from audiocodec.batch.grouping import BatchingPolicy, group_by_length
from audiocodec.batch.plan import Job, Plan
from audiocodec.batch.report import Batch, OutputDiffers, format_error
from audiocodec.errors import CodecError
from audiocodec.temporary import sweep
from audiocodec.threads import Stop, on_threads

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_jobs(
    plan: Plan,
    work: Callable[[Job], Result],
    overwrite: bool = False,
    check_done: Callable[[Job], None] | None = None,
    after: Callable[[Job], object] | None = None,
    workers: int = 1,
    stop: Stop | None = None,
    batching: BatchingPolicy[Result] | None = None,
    reuse: Callable[[Job], Result | None] | None = None,
) -> Batch[Result]:
    """Run the jobs, ``workers`` at a time. The report is in the plan's order.

    Args:
        work: makes a job's target completely or raises. With several workers it is called on
            several threads, and should call ``stop.check`` now and then.
        overwrite: replace existing targets.
        check_done: examines an existing target that is not overwritten. It raises OutputDiffers
            if the job would make something else; that is a failure, not a skipped file.
        after: called after each job, whether it failed or not, on the calling thread.
        stop: requested when the calling thread is interrupted (Ctrl-C), so that all jobs end.
        batching: runs jobs of similar length in batches, each on one worker. ``work`` runs the
            others.
        reuse: makes a target that is to be overwritten from the existing one; ``None`` if it must
            be made from its source.

    Raises:
        Exception: what ``work`` raised for a plan's single file, unless it is a CodecError.
    """
    stop = stop or Stop()
    runner = _Runner(plan, work, overwrite, check_done, batching, reuse)
    outcomes: dict[int, Result | Exception | None] = {}

    def collect(done: Mapping[int, Result | Exception | None]) -> None:
        outcomes.update(done)
        for place, outcome in done.items():
            match outcome:
                case CodecError():
                    pass
                case Exception() if plan.single:
                    raise outcome
            if after:
                after(plan.jobs[place])

    groups = [[place] for place in range(len(plan.jobs))]
    if batching:
        sizes: dict[int, tuple[int, float]] = {}
        on_threads(runner.measure, range(len(plan.jobs)), workers, stop, sizes.update)
        alone = [group for group in groups if group[0] not in sizes]
        groups = alone + group_by_length(sizes, batching.limit)
    on_threads(runner.run, groups, workers, stop, collect)
    return _report(plan, outcomes)


def attempt(work: Callable[[Item], Result], item: Item) -> Result | Exception:
    """``work(item)``, or the exception that it raised. Ctrl-C and :class:`Stopped` pass."""
    try:
        return work(item)
    except Exception as error:
        return error


@dataclass
class _Runner(Generic[Result]):
    """Runs jobs by their places in the plan. Arguments as in :func:`run_jobs`.

    A job's outcome is its result, the exception that it raised, or ``None`` if its target exists.
    """

    plan: Plan
    work: Callable[[Job], Result]
    overwrite: bool
    check_done: Callable[[Job], None] | None
    batching: BatchingPolicy[Result] | None
    reuse: Callable[[Job], Result | None] | None

    def __post_init__(self) -> None:
        self.first_sources: dict[Path, Path] = {}
        for job in self.plan.jobs:
            self.first_sources.setdefault(job.target, job.source)

    def measure(self, place: int) -> dict[int, tuple[int, float]]:
        """The size in a batch of a job that is not done yet; nothing for one that fails."""
        job = self.plan.jobs[place]
        assert self.batching
        if self.overwrite or not job.target.is_file():
            size = attempt(self.batching.measure, job)
            if not isinstance(size, Exception):
                return {place: size}
        return {}

    def run(self, places: Sequence[int]) -> dict[int, Result | Exception | None]:
        """The outcomes of the jobs at these places, which are run as one batch."""
        jobs = self.plan.jobs
        outcomes: dict[int, Result | Exception | None] = dict.fromkeys(places)
        ready: list[int] = []
        for place in places:
            must_run = attempt(self.prepare, jobs[place])
            if isinstance(must_run, Exception):
                outcomes[place] = must_run
            elif must_run:
                outcomes[place] = attempt(self.try_reuse, jobs[place])
                if outcomes[place] is None:
                    ready.append(place)
        made: Sequence[Result | Exception]
        if self.batching and len(ready) > 1:
            made = self.batching.work([jobs[place] for place in ready])
        else:
            made = [attempt(self.work, jobs[place]) for place in ready]
        return outcomes | dict(zip(ready, made, strict=True))

    def prepare(self, job: Job) -> bool:
        """Whether the job must run. The folder of its target exists afterwards."""
        first = self.first_sources[job.target]
        if first is not job.source:
            raise CodecError(
                f"{job.source}: would become {job.target}, as {first} does; rename one of them"
            )
        sweep(job.target.parent)
        if job.target.is_file() and not self.overwrite:
            if self.check_done:
                self.check_done(job)
            if self.plan.single:
                raise CodecError(f"{job.target}: is there already; --overwrite replaces it")
            return False
        if self.plan.folder or not self.plan.single:
            _make_folder(job.target.parent)
        return True

    def try_reuse(self, job: Job) -> Result | None:
        return self.reuse(job) if self.reuse and job.target.is_file() else None


def _report(plan: Plan, outcomes: Mapping[int, Result | Exception | None]) -> Batch[Result]:
    batch: Batch[Result] = Batch(failures=list(plan.failures))
    for place, job in enumerate(plan.jobs):
        outcome = outcomes[place]
        if outcome is None:
            batch.skipped.append(job)
        elif isinstance(outcome, Exception):
            batch.failures.append(format_error(job, outcome))
            if isinstance(outcome, OutputDiffers):
                batch.differing.append(outcome)
        else:
            batch.results.append(outcome)
    return batch


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{folder}: cannot be made ({error.strerror})") from None
