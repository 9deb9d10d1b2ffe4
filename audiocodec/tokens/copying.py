"""Codes from one token file to another, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audiocodec.tokens.reader import TokenFile
from audiocodec.tokens.writer import TokenWriter

if TYPE_CHECKING:
    from audiocodec.progress import Progress


def copy_codes(
    tokens: TokenFile,
    writer: TokenWriter,
    progress: Progress | None = None,
    start: int = 0,
    stop: int | None = None,
) -> None:
    """Write frames ``start`` to ``stop - 1``, with as many codebooks as ``writer`` has.

    Args:
        progress: called after each piece with its seconds of audio.
        stop: ``None`` for all frames from ``start`` on.

    Raises:
        CodecError: a damaged block, or the target cannot be written.
    """
    for codes in tokens.pieces(writer.header.num_codebooks, start=start, stop=stop):
        writer.write(codes)
        if progress:
            progress(codes.shape[2] / writer.header.frame_rate)
