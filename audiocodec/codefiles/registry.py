"""Every format of code files, by its suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from audiocodec.errors import CodecError
from audiocodec.extras import import_object

if TYPE_CHECKING:
    from audiocodec.codefiles.format import CodeFormat

FORMATS: dict[str, str | Callable[[], CodeFormat]] = {
    ".npy": "audiocodec.codefiles.npy:Npy",
    ".npz": "audiocodec.codefiles.npz:Npz",
    ".json": "audiocodec.codefiles.json:Json",
    ".parquet": "audiocodec.codefiles.parquet:Parquet",
}
"""Suffix -> a class with the methods of :class:`CodeFormat`, or its import path."""


def format_of(path: str | Path) -> CodeFormat:
    """The format that a file's suffix names.

    Raises:
        CodecError: there is none.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise CodecError(f"{path}: codes are exported to {', '.join(FORMATS)} files")
    make = FORMATS[suffix]
    format: CodeFormat = (import_object(make) if isinstance(make, str) else make)()
    return format
