"""`-` as a path: stdin and stdout for bytes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

if TYPE_CHECKING:
    from audiocodec.batch.plan import Plan

PIPE = "-"
BUFFER_BYTES = 2**17


def pipe_plan(paths: Sequence[str], suffixes: Sequence[str]) -> Plan | None:
    """The plan of `- [OUT]` or `IN -`, which has one job; ``None`` if no path is `-`.

    Raises:
        CodecError: more paths than that, or an output file without one of the ``suffixes``.
    """
    from audiocodec.batch.names import check_file_name
    from audiocodec.batch.plan import Job, Plan
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
    """stdin or stdout for the path `-` of a pipe's plan; any other path is returned as it is.

    Raises:
        CodecError: stdin or stdout is a terminal.
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

    name, stream = ("stdin", sys.stdin) if mode == "rb" else ("stdout", sys.stdout)
    if stream.isatty():
        remedy = "pipe data into it" if mode == "rb" else "redirect it to a file or a pipe"
        raise CodecError(f"{name}: is a terminal; {remedy}")
    # Input is buffered, so that a read returns whole fields, and all of a pipe that has arrived;
    # output is sent on at once.
    buffering = BUFFER_BYTES if mode == "rb" else 0
    return open(stream.fileno(), mode, buffering=buffering, closefd=False)
