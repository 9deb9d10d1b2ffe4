"""`--files-from`: the inputs of encode and decode from a list with one path per line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

files_from_option = click.option(
    "--files-from",
    metavar="LIST",
    type=click.Path(),
    help="Read the inputs from this file, or from stdin for -: one path per line, unquoted, "
    "relative to the current folder. OUT is then a folder; it mirrors the tree below the innermost "
    "folder that holds all inputs.",
)


def listed_paths(paths: Sequence[str], files_from: str) -> tuple[list[str], str]:
    """Inputs and output (``""`` if there is none) of ``--files-from LIST [OUT]``.

    Blank lines are skipped. There are no comments, because a name may start with any character.

    Raises:
        CodecError: a list that cannot be read, is not text, or has no paths.
    """
    from audiocodec.errors import CodecError

    if len(paths) > 1 or "-" in paths or "" in paths:
        raise click.UsageError("--files-from names the inputs: give only a folder as OUT beside it")
    try:
        data = sys.stdin.buffer.read() if files_from == "-" else Path(files_from).read_bytes()
    except OSError as error:
        raise CodecError(f"{files_from}: cannot be read ({error.strerror})") from None
    name = "stdin" if files_from == "-" else files_from
    if b"\0" in data:
        raise CodecError(f"{name}: is no list of files; write one path a line")
    lines = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    inputs = [os.fsdecode(line) for line in lines if line.strip()]
    if not inputs:
        raise CodecError(f"{name}: names no files; write one path a line")
    return inputs, paths[0] if paths else ""
