"""Every format of code files, by its suffix."""

from __future__ import annotations

from pathlib import Path

from audiocodec.codefiles.format import CodeFormat
from audiocodec.codefiles.json import Json
from audiocodec.codefiles.npy import Npy
from audiocodec.codefiles.npz import Npz
from audiocodec.codefiles.parquet import Parquet
from audiocodec.errors import CodecError

FORMATS: dict[str, CodeFormat] = {
    format.suffix: format
    for format in (
        Npy(),
        Npz(),
        Json(),
        Parquet(),
    )
}
"""A format has no state, so there is one object of each."""


def format_of(path: str | Path) -> CodeFormat:
    """The format that a file's suffix names.

    Raises:
        CodecError: there is none.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise CodecError(f"{path}: codes are exported to {', '.join(FORMATS)} files")
    return FORMATS[suffix]
