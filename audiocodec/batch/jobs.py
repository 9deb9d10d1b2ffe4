"""Many files at once: what becomes what, what is done already, and what failed.

A file that fails does not stop the others. Inputs are never touched, and outputs that are there
already stay as they are unless they are to be overwritten.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from audiocodec.errors import CodecError
from audiocodec.paths import Report, sweep
from audiocodec.tokens.header import SUFFIX

Item = TypeVar("Item")
Result = TypeVar("Result")

_NAMES = (
    ".tok .wav .flac .ogg .oga .opus .mp3 .m4a .aac .wma .aif .aiff .au .caf .mp4 .mkv .webm .npy "
    ".npz .pt .pth .pkl .bin .safetensors .onnx .parquet .arrow .csv .tsv .txt .json .jsonl .yaml "
    ".yml .xml .h5 .hdf5 .sqlite .zip .tar .gz .tgz .bz2 .xz .zst .7z"
)
FILE_SUFFIXES = frozenset(_NAMES.split())
"""Names that end so are meant for files."""

NAMED_TOGETHER = 3
"""Files that a line on many of them names."""

LEAST_FILLED = 0.8
"""The shortest row of a batch, as a share of the longest."""


@dataclass(frozen=True)
class Job:
    """One file to make from another."""

    source: Path
    target: Path


@dataclass
class Plan:
    """The jobs, in order, and a line for each input that gave none.

    ``single``: one file was named, and an output that is there already is an error rather than a
    job done. ``folder``: outputs go into folders, which are made; that of one named output must
    exist. ``pipe``: a path ``-`` in it is stdin or stdout.
    """

    single: bool
    pipe: bool = False
    folder: bool = False
    jobs: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class OutputDiffers(CodecError):
    """An output that is there already is not what its job would make.

    Many of them are told in one line: ``many`` says what they are, and ``remedy`` what to do.
    """

    def __init__(self, target: str | Path, one: str, many: str, remedy: str) -> None:
        super().__init__(f"{target}: {one}; --overwrite {remedy.format('it')}")
        self.target, self.many = Path(target), many
        self.remedy = f"--overwrite {remedy.format('them')}"


@dataclass
class Batch(Generic[Result]):
    """What became of a plan: results, outputs that were there already, a line for each failure.

    ``differing`` are those of the failures that are outputs of another kind.
    """

    results: list[Result] = field(default_factory=list)
    skipped: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    differing: list[OutputDiffers] = field(default_factory=list)

    def failure_lines(self) -> list[str]:
        """The failures in order; outputs that differ in the same way share one line."""
        alike: dict[tuple[str, str], list[OutputDiffers]] = {}
        for error in self.differing:
            alike.setdefault((error.many, error.remedy), []).append(error)
        told = {failure: failure for failure in self.failures}
        for (many, remedy), errors in alike.items():
            if len(errors) > 1:
                names = [str(error.target) for error in errors[:NAMED_TOGETHER]]
                names += ["..."] if len(errors) > NAMED_TOGETHER else []
                line = f"{len(errors)} {many} ({', '.join(names)}); {remedy}"
                told |= {str(error): line for error in errors}
        return list(dict.fromkeys(told.values()))


@dataclass(frozen=True)
class _Failure:
    line: str
    error: Exception


def split_paths(paths: Sequence[str], is_input: Callable[[Path], bool]) -> tuple[list[str], str]:
    """``IN... [OUT]`` -> inputs and output (``""`` where none is given).

    The last of several paths is the output if it is a folder, or ends with a slash, or if
    ``is_input`` says that it is no input.

    Raises:
        CodecError: an empty path, which would be the current folder.
    """
    if "" in paths:
        raise CodecError("a path is empty; is a variable of your script not set?")
    if len(paths) < 2:
        return list(paths), ""
    last = paths[-1]
    if last.endswith("/") or Path(last).is_dir() or not is_input(Path(last)):
        return list(paths[:-1]), last
    return list(paths), ""


def plan_jobs(
    inputs: Sequence[str],
    output: str,
    find: Callable[[Path, Report], list[Path]],
    name_beside: Callable[[Path], str],
    name_in_output: Callable[[Path], str],
    suffixes: Sequence[str] = (),
    listed: bool = False,
) -> Plan:
    """Say which file becomes which.

    Without ``output``, or in the folder of its source, each result is called ``name_beside``. With
    it, the output of one file is that file, or lies in it if it ends with a slash; the output of
    anything else is a folder: a folder's tree is mirrored into it, or, of several inputs, into a
    folder of that input's name. The same file given twice is one job.

    Args:
        find: an input -> its source files; CodecError if there are none. A folder in it that cannot
            be listed is reported.
        name_beside, name_in_output: a source -> its result's file name.
        suffixes: those of output files; an ``output`` that is named otherwise is refused.
        listed: the inputs are lines of a list, however few: into ``output``, a folder, goes the
            tree below the folder that all of them lie in, so that equal names do not meet.

    Raises:
        CodecError: a single input that gives no job, or an output that is a file, not a folder, or
            has the name of another kind of file.
    """
    plan = Plan(single=not listed and len(inputs) == 1 and not Path(inputs[0]).is_dir())
    if plan.single and output and not output.endswith("/"):
        check_file_name(output, suffixes)
        plan.jobs.append(Job(Path(inputs[0]), Path(output)))
        return plan
    plan.folder = True
    if output and Path(output).is_file():
        raise CodecError(f"{output}: is a file; the output of several inputs must be a folder")
    if output:
        check_folder_name(output)
    common = _common_folder(inputs) if listed and output else None
    beside: dict[Path, bool] = {}
    jobs: dict[tuple[str, Path], Job] = {}
    for given in map(Path, inputs):
        try:
            sources = find(given, lambda _, line: plan.failures.append(line))
        except CodecError as error:
            plan.failures.append(str(error))
            continue
        root = given if given.is_dir() else given.parent
        top = given.resolve().name if given.is_dir() and len(inputs) > 1 else ""
        for source in sources:
            folder = source.parent
            if output and common:
                folder = Path(output, Path(os.path.abspath(folder)).relative_to(common))
            elif output:
                folder = Path(output, top, folder.relative_to(root))
            if folder not in beside:
                beside[folder] = os.path.realpath(folder) == os.path.realpath(source.parent)
            name = name_beside(source) if beside[folder] else name_in_output(source)
            jobs.setdefault((os.path.abspath(source), folder / name), Job(source, folder / name))
    plan.jobs += jobs.values()
    if not plan.jobs and len(plan.failures) == 1:
        raise CodecError(plan.failures[0])
    return plan


def check_file_name(output: str, suffixes: Sequence[str]) -> None:
    """Raise :class:`CodecError` if a file ``output`` is named like another kind, or like a folder.

    A folder or device passes: what writes the file says more of it.
    """
    path = Path(output)
    suffix = path.suffix.lower()
    if not suffixes or suffix in suffixes or path.is_dir() or _is_device(path):
        return
    stem = path.with_suffix("") if suffix in FILE_SUFFIXES else path
    names = " or ".join(f"{stem}{own}" for own in suffixes)
    if suffix in FILE_SUFFIXES:
        what = f"not a {SUFFIX} file" if SUFFIX in suffixes else f"cannot write `{suffix}` audio"
        raise CodecError(f"{output}: {what}; name it {names}")
    raise CodecError(f"{output}: a file or a folder? name it {names}, or {output}/ for a folder")


def check_folder_name(output: str) -> None:
    """Raise :class:`CodecError` if a new folder would be named like a file; a slash allows it."""
    suffix = Path(output).suffix.lower()
    if suffix in FILE_SUFFIXES and not output.endswith("/") and not Path(output).is_dir():
        raise CodecError(
            f"{output}: the output of several files is a folder, but `{suffix}` names a file; "
            f"write {Path(output).with_suffix('')}, or {output}/ if the folder is to be called so"
        )


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _common_folder(inputs: Sequence[str]) -> str:
    """The folder that all inputs lie in, whether they are there or not."""
    try:
        return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in inputs])
    except ValueError:
        raise CodecError("the listed files lie on several drives; give one list for each") from None


class Stopped(BaseException):
    """Raised in the midst of a job that is to be given up, by :meth:`Stop.check`."""


class Stop:
    """Asks jobs on other threads to give up: each looks now and then."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def request(self) -> None:
        self._asked.set()

    def check(self) -> None:
        """Raise :class:`Stopped` if it was asked for: what the job has open is then cleared up."""
        if self._asked.is_set():
            raise Stopped


@dataclass(frozen=True)
class BatchingPolicy(Generic[Result]):
    """How several jobs are done side by side, in batches of like length.

    Args:
        measure: a job -> how many rows it takes in a batch, and their length; it may raise.
        most: rows times the greatest length, of a batch.
        work: two or more jobs -> what became of each. Called on several threads, as ``work`` of
            :func:`run_jobs` is.
    """

    measure: Callable[[Job], tuple[int, float]]
    most: float
    work: Callable[[Sequence[Job]], Sequence[Result | Exception]]


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
    """Do the jobs, ``workers`` at a time. What comes back is in the plan's order.

    Args:
        work: makes a job's target, whole or not at all, or raises. With several workers it is
            called on several threads, and should call ``stop.check`` now and then.
        check_done: looks at a target that is there already; OutputDiffers if it is not what the job
            would make, which is a failure, because skipping it would hide the difference.
        after: called after each job, whatever became of it, on one thread at a time.
        stop: asked when this thread is interrupted (Ctrl-C), so that no job runs on.
        batching: does jobs of like length in batches, each on one worker; ``work`` the others.
        reuse: makes a target that is to be overwritten from itself, or says with ``None`` that it
            has to be made from its source.
    """
    outcomes: list[Result | _Failure | None] = [None] * len(plan.jobs)
    firsts: dict[Path, Path] = {}
    for job in plan.jobs:
        firsts.setdefault(job.target, job.source)
    lock = threading.Lock()
    stop = stop or Stop()
    sizes: dict[int, tuple[int, float]] = {}

    def measure(place: int) -> None:
        job = plan.jobs[place]
        if batching and (overwrite or not job.target.is_file()):
            size = attempt(batching.measure, job)
            if not isinstance(size, Exception):
                sizes[place] = size

    def check(job: Job) -> bool:
        return _to_do(job, firsts[job.target], plan, overwrite, check_done)

    def remake(job: Job) -> Result | None:
        return reuse(job) if reuse and job.target.is_file() else None

    def do(places: list[int]) -> None:
        done: dict[int, Result | Exception] = {}
        ready: list[int] = []
        for place in places:
            due = attempt(check, plan.jobs[place])
            remade = attempt(remake, plan.jobs[place]) if due is True else None
            if isinstance(due, Exception):
                done[place] = due
            elif remade is not None:
                done[place] = remade
            elif due:
                ready.append(place)
        made: Sequence[Result | Exception]
        if batching and len(ready) > 1:
            made = batching.work([plan.jobs[place] for place in ready])
        else:
            made = [attempt(work, plan.jobs[place]) for place in ready]
        for place, outcome in [*done.items(), *zip(ready, made, strict=True)]:
            job = plan.jobs[place]
            if isinstance(outcome, Exception):
                outcomes[place] = _Failure(format_error(job, outcome, plan.single), outcome)
            else:
                outcomes[place] = outcome
        if after:
            for place in places:
                with lock:
                    after(plan.jobs[place])

    places = range(len(plan.jobs))
    if batching:
        _on_threads(places, measure, workers, stop)
    alone = [[place] for place in places if place not in sizes]
    _on_threads(alone + _batches(sizes, batching.most if batching else 0), do, workers, stop)
    batch: Batch[Result] = Batch(failures=list(plan.failures))
    for job, outcome in zip(plan.jobs, outcomes, strict=True):
        if outcome is None:
            batch.skipped.append(job)
        elif isinstance(outcome, _Failure):
            batch.failures.append(outcome.line)
            if isinstance(outcome.error, OutputDiffers):
                batch.differing.append(outcome.error)
        else:
            batch.results.append(outcome)
    return batch


def attempt(work: Callable[[Item], Result], item: Item) -> Result | Exception:
    """``work(item)``, or the error that it raised; what stops the program passes."""
    try:
        return work(item)
    except Exception as error:
        return error


def _on_threads(
    items: Sequence[Item], work: Callable[[Item], None], workers: int, stop: Stop
) -> None:
    """``work`` for each item, ``workers`` at a time; interrupted, no item runs on."""
    waiting = iter(items)
    lock = threading.Lock()

    def run() -> None:
        while True:
            with lock:
                stop.check()
                item = next(waiting, None)
            if item is None:
                return
            work(item)

    if workers == 1:
        run()
        return
    # Threads, not processes: nearly all of the work is done outside Python's lock, one model
    # serves all, nothing has to start, and nothing can be left behind.
    with ThreadPoolExecutor(workers) as pool:
        try:
            with lock:  # no item begins before all threads are known, and so waited for
                threads = [pool.submit(run) for _ in range(workers)]
            for thread in threads:
                thread.result()
        except BaseException:
            stop.request()
            raise


def _batches(sizes: Mapping[int, tuple[int, float]], most: float) -> list[list[int]]:
    """Keys of like length together, the longest first; ``sizes`` are rows and their lengths."""
    batches: list[list[int]] = []
    rows, longest = 0, 0.0
    for key in sorted(sizes, key=lambda key: (-sizes[key][1], key)):
        more, length = sizes[key]
        if not batches or (rows + more) * longest > most or length < LEAST_FILLED * longest:
            batches.append([])
            rows, longest = 0, length
        batches[-1].append(key)
        rows += more
    return batches


def _to_do(
    job: Job,
    first: Path,
    plan: Plan,
    overwrite: bool,
    check_done: Callable[[Job], None] | None,
) -> bool:
    """Whether a job is still to be done; its target's folder is there then.

    ``first`` is the source of the first job of the same target.
    """
    if first is not job.source:
        raise CodecError(
            f"{job.source}: would become {job.target}, as {first} does; rename one of them"
        )
    sweep(job.target.parent)
    if job.target.is_file() and not overwrite:
        if check_done:
            check_done(job)
        if plan.single:
            raise CodecError(f"{job.target}: is there already; --overwrite replaces it")
        return False
    if plan.folder or not plan.single:
        _make_folder(job.target.parent)
    return True


def format_error(job: Job, error: Exception, single: bool) -> str:
    """The line that says why a job failed. Of a file alone, what is no mistake is raised."""
    if isinstance(error, CodecError):
        return str(error)
    if single:
        raise error
    reason = (str(error).splitlines() or [""])[0]
    return f"{job.source}: {type(error).__name__}: {reason}"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{folder}: cannot be made ({error.strerror})") from None
