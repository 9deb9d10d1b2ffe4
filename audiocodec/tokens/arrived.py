"""Blocks of a `.tok` stream that have arrived together, to be decoded together."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from typing import BinaryIO, TypeVar

from audiocodec.errors import CodecError
from audiocodec.tokens.coding import Coding
from audiocodec.tokens.header import CRC

MOST_BYTES = 2**20
Block = TypeVar("Block")


def together(blocks: Iterator[Block], stream: BinaryIO, coding: Coding) -> Iterator[list[Block]]:
    """``blocks``, which are read from ``stream``, in lists of those that are there already.

    The first list has one block, the next at most two, then four, up to ``coding.rows_at_once``:
    the first codes are decoded as soon as they can be. Nothing waits for a block that has not
    arrived, and blocks before a damaged one come before its error.
    """
    most = 1
    failure: CodecError | None = None
    while failure is None:
        count = whole_blocks(arrived_bytes(stream), coding, most) if most > 1 else 1
        read: list[Block] = []
        try:
            for block in itertools.islice(blocks, max(1, count)):
                read.append(block)
        except CodecError as error:
            failure = error
        if read:
            yield read
        elif failure is None:
            return
        most = min(2 * most, coding.rows_at_once)
    raise failure


def arrived_bytes(stream: BinaryIO) -> bytes:
    """Bytes of ``stream`` that are there, without moving it; none where it cannot tell.

    A buffered pipe, socket or file waits for its first bytes only, where none are buffered.
    """
    if hasattr(stream, "peek"):
        data: bytes = stream.peek(MOST_BYTES)
        return data
    if isinstance(stream, io.BytesIO):
        start = stream.tell()
        return stream.getbuffer()[start : start + MOST_BYTES].tobytes()
    return b""


def whole_blocks(data: bytes, coding: Coding, most: int) -> int:
    """How many whole blocks ``data`` begins with, at most ``most``. They are not checked."""
    stream, count = io.BytesIO(data), 0
    while count < most:
        frames = stream.read(1)
        if frames in (b"", b"\0"):  # the end, or the trailer's mark
            break
        try:
            _, size = coding.read_length(stream.read, frames[0])
        except CodecError:
            break
        if stream.seek(size + CRC.size, os.SEEK_CUR) > len(data):
            break
        count += 1
    return count
