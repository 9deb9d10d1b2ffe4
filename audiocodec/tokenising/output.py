"""Output files that last: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing


@dataclass(frozen=True)
class OutputFile:
    """A finished file: its path relative to the output folder, its size, its SHA-256."""

    name: str
    num_bytes: int
    sha256: str


class HashingFile:
    """A file that is written from its beginning to its end; its hash is that of what was meant.

    Args:
        target: the file's name at the end, for messages.
    """

    closed = discarded = False

    def __init__(self, file: IO[bytes], target: Path) -> None:
        self._file, self._target = file, target
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes | memoryview) -> int:
        if self.discarded:  # a writer that is closed after an error writes once more
            return len(data)
        with writing(self._target):
            self._file.write(data)
        self._hash.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing: the file is flushed once, at its end."""

    def close(self) -> None:
        """Nothing: who opened the file closes it."""

    def sync(self) -> None:
        """Have all bytes on the disk."""
        with writing(self._target):
            self._file.flush()
            os.fsync(self._file.fileno())

    def finished(self, name: str) -> OutputFile:
        return OutputFile(name, self._size, self._hash.hexdigest())


@contextmanager
def new_file(folder: Path, name: str, made: list[OutputFile]) -> Iterator[HashingFile]:
    """A file to write at ``folder / name``; it appears at the end, whole and on the disk.

    After an exception nothing is left. At the end, the file is appended to ``made``.

    Raises:
        CodecError: it cannot be written, as on a full disk.
    """
    target = folder / name
    make_folder(target.parent)
    with replacing(target) as temporary:
        with writing(target):
            opened = temporary.open("wb")
        file = HashingFile(opened, target)
        try:
            yield file
            file.sync()
        finally:
            file.discarded = True
            with writing(target):
                opened.close()
    sync_folder(target.parent)
    made.append(file.finished(name))


def write_text(folder: Path, name: str, text: str) -> OutputFile:
    r"""Write a small file as :func:`new_file` does.

    Bytes of file names that are not UTF-8 become ``\udc..``, as JSON writes them.
    """
    made: list[OutputFile] = []
    with new_file(folder, name, made) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    return made[0]


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    if sys.platform == "win32":
        return
    with writing(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        CodecError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{folder}: cannot be made ({error.strerror})") from None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes.

    Raises:
        CodecError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
