"""Which file becomes which: inputs and an output, as the user named them, to a list of jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audiocodec.batch.names import check_file_name, check_folder_name
from audiocodec.errors import CodecError
from audiocodec.paths import Report


@dataclass(frozen=True)
class Job:
    """One file to make from another."""

    source: Path
    target: Path


@dataclass
class Plan:
    """The jobs, in order, and an error line for each input that has none.

    Args:
        single: one file was named. An output that already exists is then an error; among several
            files it is skipped.
        pipe: a path ``-`` is stdin or stdout.
        folder: outputs go into folders, which are made. The folder of one named output must exist.
    """

    single: bool
    pipe: bool = False
    folder: bool = False
    jobs: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def split_paths(paths: Sequence[str], is_input: Callable[[Path], bool]) -> tuple[list[str], str]:
    """``IN... [OUT]`` -> inputs and output (``""`` if there is none).

    The last of several paths is the output if it is a folder, ends with a slash, or is not an input
    according to ``is_input``.

    Raises:
        CodecError: an empty path, which would mean the current folder.
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
    """Plan a job for each file of the inputs. A file that is given twice is one job.

    Without ``output``, each target lies beside its source. With it, the target of a single file is
    ``output``, or lies in it if it ends with a slash. The output of anything else is a folder: the
    tree of an input folder is mirrored into it, or, of several inputs, into a subfolder of the
    input's name.

    Args:
        find: an input -> its source files, or CodecError if there are none. It reports subfolders
            that cannot be listed.
        name_beside: a source -> its target's file name in the same folder.
        name_in_output: a source -> its target's file name in another folder.
        suffixes: what a single file's ``output`` may end with; any if empty.
        listed: the inputs come from a list, of any length. ``output`` is then a folder, and gets
            the tree below the innermost folder that holds all inputs, so that equal names do not
            collide.

    Raises:
        CodecError: a single input that has no job; or ``output`` is a file where a folder is
            needed, or is named like another kind of file.
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
    same_folder: dict[Path, bool] = {}
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
            if folder not in same_folder:
                real_folder = os.path.realpath(source.parent)
                same_folder[folder] = os.path.realpath(folder) == real_folder
            name = name_beside(source) if same_folder[folder] else name_in_output(source)
            jobs.setdefault((os.path.abspath(source), folder / name), Job(source, folder / name))
    plan.jobs += jobs.values()
    if not plan.jobs and len(plan.failures) == 1:
        raise CodecError(plan.failures[0])
    return plan


def _common_folder(inputs: Sequence[str]) -> str:
    """The innermost folder that holds all inputs, whether they exist or not."""
    try:
        return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in inputs])
    except ValueError:
        raise CodecError("the listed files lie on several drives; give one list for each") from None
