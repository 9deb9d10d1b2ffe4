"""Many files at once: what becomes what, what is done already, and what failed.

A file that fails does not stop the others. Inputs are never touched, and outputs that are there
already stay as they are unless they are to be overwritten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from audiocodec.errors import CodecError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """One file to make from another."""

    source: Path
    target: Path


@dataclass
class Plan:
    """The jobs, in order, and a line for each input that gave none.

    ``single``: one file was named, so its output's folder must exist, and an output that is there
    already is an error rather than a job done. ``pipe``: a path ``-`` in it is stdin or stdout.
    """

    single: bool
    pipe: bool = False
    jobs: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass
class Batch(Generic[Result]):
    """What became of a plan: results, outputs that were there already, a line for each failure."""

    results: list[Result] = field(default_factory=list)
    skipped: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def split_paths(paths: Sequence[str], is_input: Callable[[Path], bool]) -> tuple[list[str], str]:
    """``IN... [OUT]`` -> inputs and output (``""`` where none is given).

    The last of several paths is the output if it is a folder, or ends with a slash, or if
    ``is_input`` says that it is no input.
    """
    if len(paths) < 2:
        return list(paths), ""
    last = paths[-1]
    if last.endswith("/") or Path(last).is_dir() or not is_input(Path(last)):
        return list(paths[:-1]), last
    return list(paths), ""


def plan_jobs(
    inputs: Sequence[str],
    output: str,
    find: Callable[[Path], list[Path]],
    name_beside: Callable[[Path], str],
    name_in_output: Callable[[Path], str],
) -> Plan:
    """Say which file becomes which.

    Without ``output`` each result lies beside its source. With it, the output of one file is that
    file, or lies in it if it ends with a slash; the output of anything else is a folder: a folder's
    tree is mirrored into it, or, of several inputs, into a folder of that input's name.

    Args:
        find: an input -> its source files; CodecError if there are none.
        name_beside, name_in_output: a source -> its result's file name.

    Raises:
        CodecError: a single input that gives no job, or an output that is a file, not a folder.
    """
    plan = Plan(single=len(inputs) == 1 and not Path(inputs[0]).is_dir())
    if plan.single and output and not output.endswith("/"):
        plan.jobs.append(Job(Path(inputs[0]), Path(output)))
        return plan
    if output and Path(output).is_file():
        raise CodecError(f"{output}: is a file; the output of several inputs must be a folder")
    for given in map(Path, inputs):
        try:
            sources = find(given)
        except CodecError as error:
            plan.failures.append(str(error))
            continue
        root = given if given.is_dir() else given.parent
        top = given.resolve().name if given.is_dir() and len(inputs) > 1 else ""
        for source in sources:
            folder = source.parent
            if output:
                folder = Path(output, top, source.parent.relative_to(root))
            name = name_in_output(source) if output else name_beside(source)
            plan.jobs.append(Job(source, folder / name))
    if not plan.jobs and len(plan.failures) == 1:
        raise CodecError(plan.failures[0])
    return plan


class Stopped(BaseException):
    """Raised in the midst of a job that is to be given up, by :meth:`Stop.look`."""


class Stop:
    """Asks jobs on other threads to give up: each looks now and then."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        self._asked.set()

    def look(self) -> None:
        """Raise :class:`Stopped` if it was asked for: what the job has open is then cleared up."""
        if self._asked.is_set():
            raise Stopped


def run_jobs(
    plan: Plan,
    work: Callable[[Job], Result],
    overwrite: bool = False,
    check_done: Callable[[Job], None] | None = None,
    after: Callable[[Job], object] | None = None,
    workers: int = 1,
    stop: Stop | None = None,
) -> Batch[Result]:
    """Do the jobs, ``workers`` at a time. What comes back is in the plan's order.

    Args:
        work: makes a job's target, whole or not at all, or raises. With several workers it is
            called on several threads, and should call ``stop.look`` now and then.
        check_done: looks at a target that is there already; CodecError if it is not what the job
            would make, which is a failure, because skipping it would hide the difference.
        after: called after each job, whatever became of it, on one thread at a time.
        stop: asked when this thread is interrupted (Ctrl-C), so that no job runs on.
    """
    outcomes: list[Result | str | None] = [None] * len(plan.jobs)
    firsts: dict[Path, Path] = {}
    for job in plan.jobs:
        firsts.setdefault(job.target, job.source)
    waiting = iter(enumerate(plan.jobs))
    lock = threading.Lock()
    stop = stop or Stop()

    def run() -> None:
        while True:
            with lock:
                stop.look()
                index, job = next(waiting, (-1, None))
            if job is None:
                return
            outcomes[index] = _outcome(job, firsts[job.target], plan, work, overwrite, check_done)
            if after:
                with lock:
                    after(job)

    if workers == 1:
        run()
    else:
        # Threads, not processes: nearly all of the work is done outside Python's lock, one model
        # serves all, nothing has to start, and nothing can be left behind.
        with ThreadPoolExecutor(workers) as pool:
            try:
                for thread in [pool.submit(run) for _ in range(workers)]:
                    thread.result()
            except BaseException:
                stop.ask()
                raise
    batch: Batch[Result] = Batch(failures=list(plan.failures))
    for job, outcome in zip(plan.jobs, outcomes, strict=True):
        if outcome is None:
            batch.skipped.append(job)
        elif isinstance(outcome, str):
            batch.failures.append(outcome)
        else:
            batch.results.append(outcome)
    return batch


def _outcome(
    job: Job,
    first: Path,
    plan: Plan,
    work: Callable[[Job], Result],
    overwrite: bool,
    check_done: Callable[[Job], None] | None,
) -> Result | str | None:
    """A job's result; or a line that says why there is none; or nothing, if it was done already.

    ``first`` is the source of the first job of the same target.
    """
    try:
        if first is not job.source:
            raise CodecError(
                f"{job.source}: would become {job.target}, as {first} does; rename one of them"
            )
        if job.target.is_file() and not overwrite:
            if check_done:
                check_done(job)
            if plan.single:
                raise CodecError(f"{job.target}: is there already; --overwrite replaces it")
            return None
        if not plan.single:
            _make_folder(job.target.parent)
        return work(job)
    except CodecError as error:
        return str(error)
    except Exception as error:
        if plan.single:
            raise
        reason = (str(error).splitlines() or [""])[0]
        return f"{job.source}: {type(error).__name__}: {reason}"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{folder}: cannot be made ({error.strerror})") from None
