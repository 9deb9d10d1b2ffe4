"""Files on disk: found in a fixed order, and written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from audiocodec.errors import CodecError

if sys.platform != "win32":
    import fcntl

Report = Callable[[Path, str], object]
"""Called with an input that cannot be used, while the others are, and the line that says why."""


def find_files(folder: Path, suffixes: Collection[str], report: Report | None = None) -> list[Path]:
    """Files under ``folder`` whose lower-case suffix is one of ``suffixes``, sorted by path.

    Links to folders are followed, each real folder once; hidden files and folders (among them the
    ``._name`` twins that macOS leaves) are passed over.

    Args:
        report: called for each folder that cannot be listed; without it that is an error.

    Raises:
        CodecError: a folder cannot be listed, and there is no ``report``.
    """
    found: list[Path] = []
    seen = {os.path.realpath(folder)}

    def refuse(error: OSError) -> None:
        line = f"{error.filename}: this folder cannot be listed ({error.strerror or error})"
        if report is None:
            raise CodecError(f"{line}; make it readable or move it away")
        report(Path(error.filename), line)

    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(root, name))
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        found += [
            Path(root, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes
        ]
    return sorted(found)


def find_inputs(
    path: str | Path, suffixes: Collection[str], none: str, report: Report | None = None
) -> list[Path]:
    """A file itself, or the files in a folder as :func:`find_files` finds them.

    Raises:
        CodecError: nothing at ``path``, or a folder without such files: ``none`` says so.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise CodecError(f"{path}: no such file or folder") from None
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not stat.S_ISDIR(mode):
        return [path]
    unlisted: list[tuple[Path, str]] = []
    found = find_files(path, suffixes, report and (lambda *entry: unlisted.append(entry)))
    if report:
        for entry in unlisted:
            report(*entry)
    if not found and not unlisted:
        raise CodecError(f"{path}: {none}")
    return found


def check_file(path: Path, kind: str) -> None:
    """Raise :class:`CodecError` for a folder, or a pipe or device, where a ``kind`` file is due.

    Nothing at ``path`` passes.
    """
    if path.is_dir():
        raise CodecError(f"{path}: is a folder, not a {kind} file")
    if path.exists() and not path.is_file():
        raise CodecError(
            f"{path}: is a pipe or a device, not a {kind} file; pipe it into the command and name "
            "it -"
        )


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give the name of an empty temporary file beside ``target``, which it becomes at the end.

    After an exception, Ctrl-C included, the temporary file is gone and ``target`` is as it was.
    One that a killed process left is gone when the next process writes into the same folder.

    Raises:
        CodecError: ``target`` is a folder or not writable, or its folder does not exist.
    """
    real = Path(os.path.realpath(target))
    if real.is_dir():
        raise CodecError(f"{target}: is a folder; name a file in it")
    if not real.parent.is_dir():
        raise CodecError(f"{target}: there is no folder {target.parent}; make it first")
    if real.exists() and not (real.is_file() and os.access(real, os.W_OK)):
        raise CodecError(f"{target}: cannot be written (not a file that may be replaced)")
    with _temporary(target, real, Path.touch) as temporary:
        try:
            yield temporary
            with writing(target):
                if real.exists():
                    temporary.chmod(real.stat().st_mode & 0o777)
                os.replace(temporary, real)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: Path, replaceable: Collection[str] = ()) -> Iterator[Path]:
    """Give an empty temporary folder beside ``target``, which it becomes at the end.

    After an exception, Ctrl-C included, it is gone and ``target`` is as it was. A ``target`` that
    is there already is replaced if it holds files of the names ``replaceable`` and nothing else.

    Raises:
        CodecError: ``target`` is a file, or holds anything that may not be replaced, or cannot be
            written.
    """
    real = Path(os.path.realpath(target))
    if real.exists() and not real.is_dir():
        raise CodecError(f"{target}: is a file; name a folder")
    if not real.parent.is_dir():
        raise CodecError(f"{target}: there is no folder {target.parent}; make it first")
    held = sorted(path.name for path in real.iterdir()) if real.is_dir() else []
    if held and not replaceable:
        raise CodecError(f"{target}: is there already; --overwrite replaces it")
    for name in held:
        if name not in replaceable:
            raise CodecError(f"{target}: holds {name} too; name a folder for this alone")
    with _temporary(target, real, Path.mkdir) as temporary:
        try:
            yield temporary
            with writing(target):
                if held:
                    old = temporary.with_suffix(".old")
                    os.replace(real, old)
                    os.replace(temporary, real)
                    shutil.rmtree(old, ignore_errors=True)
                else:
                    os.replace(temporary, real)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn an ``OSError`` inside (disk full, no permission) into a :class:`CodecError`.

    A pipe that nobody reads any more is no mistake: its ``BrokenPipeError`` passes.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CodecError(f"{target}: cannot be written ({error.strerror or error})") from None


@contextmanager
def _temporary(target: Path, real: Path, make: Callable[[Path], object]) -> Iterator[Path]:
    """A new file or folder beside ``real``, made by ``make`` and locked until the end.

    A lock dies with its process, so what has none is of a process that was killed.
    """
    with writing(target):
        sweep(real.parent)
        while True:
            path = real.parent / f"{_prefix()}{secrets.token_hex(8)}.part"
            make(path)
            lock = _lock(path, wait=True)
            if path.exists():
                break
            if lock is not None:  # another process swept it away before it was locked
                os.close(lock)
    try:
        yield path
    finally:
        if lock is not None:
            os.close(lock)


def sweep(folder: Path) -> None:
    """Remove what killed processes of this machine were writing into ``folder``, once per process.

    What another machine writes stays, as locks need not reach across a network.
    """
    _sweep(Path(os.path.realpath(folder)))


@lru_cache(maxsize=1024)
def _sweep(folder: Path) -> None:
    try:
        with os.scandir(folder) as entries:
            names = {entry.name for entry in entries if entry.name.startswith(_prefix())}
    except OSError:
        return
    for name in names:
        path = folder / name
        # Killed between its two renames, a process leaves both: one is the only whole folder.
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
    """A descriptor that holds the lock of ``path``; ``None`` if it is not to be had."""
    if sys.platform == "win32":
        return None
    try:
        # To lock a file, NFS wants it open for writing; a folder cannot be.
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
    """What the names of temporary files of this machine begin with."""
    machine = hashlib.sha256(platform.node().encode("utf-8", "surrogateescape")).hexdigest()
    return f".codec-{machine[:8]}-"
