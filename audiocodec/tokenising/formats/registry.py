"""The shard formats by name: one file and one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from audiocodec.errors import CodecError
from audiocodec.extras import import_object, require_extra

if TYPE_CHECKING:
    from audiocodec.tokenising.formats.format import ShardFormat

FORMATS: dict[str, str | Callable[[], ShardFormat]] = {
    "parquet": "audiocodec.tokenising.formats.parquet:Parquet",
    "webdataset": "audiocodec.tokenising.formats.webdataset:WebDataset",
    "npy": "audiocodec.tokenising.formats.npy:Npy",
    "tok": "audiocodec.tokenising.formats.tok:Tok",
}
"""Name -> a class with the methods of :class:`ShardFormat`, or its import path."""


def shard_format(name: str) -> ShardFormat:
    """The format called ``name``.

    Raises:
        CodecError: there is none, or what it needs is not installed.
    """
    if name not in FORMATS:
        raise CodecError(f"format {name}: does not exist; use one of {', '.join(FORMATS)}")
    make = FORMATS[name]
    format: ShardFormat = (import_object(make) if isinstance(make, str) else make)()
    if format.package:
        require_extra(format.package, format.extra, f"the format {name}")
    return format
