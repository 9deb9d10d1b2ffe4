"""Temporary files beside their targets, and removal of those that killed processes left."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextmanager
def locked_temporary(folder: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    """A new file or folder in ``folder``, made by ``make`` and locked until the end.

    A lock ends with its process, so a temporary file without a lock belongs to a killed process.

    Raises:
        OSError: it cannot be made.
    """
    sweep(folder)
    while True:
        path = folder / f"{_prefix()}{secrets.token_hex(8)}.part"
        make(path)
        lock = _lock(path, wait=True)
        if path.exists():
            break
        if lock is not None:  # another process removed it before it was locked
            os.close(lock)
    try:
        yield path
    finally:
        if lock is not None:
            os.close(lock)


def sweep(folder: Path, again: bool = False) -> None:
    """Remove the temporary files that killed processes left in ``folder``. A process does so once.

    Files of another machine stay, because locks may not work across a network.

    Args:
        again: do so also if this process has done it before.
    """
    real = Path(os.path.realpath(folder))
    (_sweep.__wrapped__ if again else _sweep)(real)


@lru_cache(maxsize=1024)
def _sweep(folder: Path) -> None:
    try:
        with os.scandir(folder) as entries:
            names = {entry.name for entry in entries if entry.name.startswith(_prefix())}
    except OSError:
        return
    for name in names:
        path = folder / name
        # A process killed between its two renames leaves both folders, and only one is complete.
        twin = path.with_suffix(".old" if path.suffix == ".part" else ".part")
        if twin.name in names or (lock := _lock(path, wait=False)) is None:
            continue
        with suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        os.close(lock)


def _lock(path: Path, wait: bool) -> int | None:
    """A file descriptor that holds a lock on ``path``; ``None`` if it cannot be locked."""
    if sys.platform == "win32":
        return None
    try:
        # NFS locks only files that are open for writing. A folder cannot be opened so.
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another process has it, or the file system has no locks
        os.close(descriptor)
        return None
    return descriptor


def _prefix() -> str:
    """The start of the names of this machine's temporary files."""
    machine = hashlib.sha256(platform.node().encode("utf-8", "surrogateescape")).hexdigest()
    return f".codec-{machine[:8]}-"
