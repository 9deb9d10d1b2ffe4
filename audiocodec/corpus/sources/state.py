"""Has a file changed since a corpus was opened?"""

from __future__ import annotations

import os

from audiocodec.errors import CodecError

State = tuple[int, int]
"""Bytes, and nanoseconds of the last change."""


def file_state(path: str) -> State:
    """The state of a file.

    Raises:
        CodecError: it cannot be read.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    return status.st_size, status.st_mtime_ns


def check_state(path: str, state: State) -> None:
    """Check that a file has the state that it had.

    Raises:
        CodecError: it has another, or cannot be read.
    """
    if file_state(path) != state:
        raise CodecError(
            f"{path}: has changed since it was opened; start again, and leave it as it is until "
            "the end"
        )
