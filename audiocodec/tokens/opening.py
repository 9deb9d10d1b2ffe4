"""Tokens from anywhere: files in folders, a path or a stream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from audiocodec.paths import Report, find_inputs
from audiocodec.tokens.blocks import BlockReader
from audiocodec.tokens.header import SUFFIX
from audiocodec.tokens.reader import TokenFile

if TYPE_CHECKING:
    from audiocodec.tokens.context import ContextModel

TokenSource = TokenFile | BlockReader
"""Tokens that can be read in order: with ``header``, ``pieces`` and the numbers of both classes."""


def open_tokens(source: str | Path | BinaryIO, context: ContextModel | None = None) -> TokenSource:
    """Tokens to be read in order from a path, or from a stream at its current position.

    Args:
        context: as in :class:`TokenFile`.

    Raises:
        CodecError: missing, not a token file, of a newer version, or damaged.
    """
    if isinstance(source, (str, Path)):
        return TokenFile(source, context)
    return BlockReader(source, context=context)


def find_tokens(path: str | Path, report: Report | None = None) -> list[Path]:
    """The ``.tok`` files in a folder and its subfolders, sorted; a file by itself.

    Args:
        report: as in :func:`~audiocodec.audio.find_audio`.

    Raises:
        CodecError: nothing at ``path``, a folder without token files, or one that cannot be listed.
    """
    return find_inputs(path, {SUFFIX}, f"no {SUFFIX} files in this folder", report)
