"""Files on disk: finding them in a fixed order, and writing them completely or not at all."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from audiocodec.errors import CodecError
from audiocodec.temporary import locked_temporary

Report = Callable[[Path, str], object]
"""Called for each input that cannot be used, with its path and an error line."""


def find_files(folder: Path, suffixes: Collection[str], report: Report | None = None) -> list[Path]:
    """Files under ``folder`` whose lower-case suffix is one of ``suffixes``, sorted by path.

    Symbolic links to folders are followed, each real folder once. Hidden files and folders are
    skipped, among them the ``._name`` files of macOS.

    Args:
        report: called for each folder that cannot be listed. Without it, such a folder is an error.

    Raises:
        CodecError: a folder cannot be listed and ``report`` is ``None``.
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
    """The file ``path``, whatever its suffix, or the files in a folder as :func:`find_files`.

    Args:
        none: the error message for a folder without such files.

    Raises:
        CodecError: nothing at ``path``, or a folder without such files.
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
    """Raise :class:`CodecError` if ``path`` is a folder, a pipe or a device, not a ``kind`` file.

    A path that does not exist passes.
    """
    if path.is_dir():
        raise CodecError(f"{path}: is a folder, not a {kind} file")
    if path.exists() and not path.is_file():
        raise CodecError(
            f"{path}: is a pipe or a device, not a {kind} file; pipe it into the command and name "
            "it -"
        )


def check_distinct(source: str | Path | BinaryIO, target: str | Path | BinaryIO) -> None:
    """Raise :class:`CodecError` if a file would be replaced by its own result."""
    paths = [os.path.realpath(place) for place in (source, target) if isinstance(place, str | Path)]
    if len(paths) > len(set(paths)):
        raise CodecError(f"{target}: is the input itself; name another output")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield an empty temporary file beside ``target``; it replaces ``target`` at the end.

    After an exception, Ctrl-C included, the temporary file is removed and ``target`` is unchanged.
    A temporary file that a killed process left is removed when the next process writes into the
    same folder.

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
    with ExitStack() as stack:
        with writing(target):
            temporary = stack.enter_context(locked_temporary(real.parent, Path.touch))
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
    """Yield an empty temporary folder beside ``target``; it replaces ``target`` at the end.

    After an exception, Ctrl-C included, it is removed and ``target`` is unchanged.

    Args:
        replaceable: file names; an existing folder is replaced if it holds nothing else.

    Raises:
        CodecError: ``target`` is a file, holds something else, or cannot be written.
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
    with ExitStack() as stack:
        with writing(target):
            temporary = stack.enter_context(locked_temporary(real.parent, Path.mkdir))
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

    ``BrokenPipeError`` passes: a pipe whose reader has ended is not a user's mistake.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CodecError(f"{target}: cannot be written ({error.strerror or error})") from None


def stream_name(stream: BinaryIO, standard: str) -> Path:
    """A stream's name for messages: its own, or ``standard`` if it has only a file descriptor."""
    name = getattr(stream, "name", f"<{type(stream).__name__}>")
    return Path(standard) if isinstance(name, int) else Path(os.fsdecode(name))
