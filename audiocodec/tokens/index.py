"""Where the blocks of a `.tok` file begin."""

from __future__ import annotations

from typing import BinaryIO

from audiocodec.errors import CodecError
from audiocodec.tokens.blocks import BLOCK_OVERHEAD
from audiocodec.tokens.coding import Coding


class BlockIndex:
    """The position of each block of a file, and the bytes of its codes.

    Blocks of one length are computed. Others state their length, so the file is read from block to
    block, a few bytes each, as far as it is needed.

    Args:
        stream: the file, which can seek. It is moved.
        first: where the first block begins.
        frames: of every block but the last.
    """

    def __init__(self, stream: BinaryIO, coding: Coding, first: int, frames: int) -> None:
        self._stream, self._coding, self.first, self._frames = stream, coding, first, frames
        self._starts = [first]
        self._sizes: list[int] = []

    def start(self, number: int) -> int:
        """The position of block ``number`` and, one after the last, that of the trailer.

        Raises:
            CodecError: a block before it is cut short, or the length that it states is damaged.
        """
        if self._coding.constant_length:
            return self.first + number * (self.size(0) + BLOCK_OVERHEAD)
        while len(self._starts) <= number:
            self._stream.seek(self._starts[-1])
            frames = self._stream.read(1)
            if not frames:
                raise CodecError("cut short")
            head, size = self._coding.read_length(self._stream.read, frames[0])
            self._starts.append(self._starts[-1] + len(head) + size + BLOCK_OVERHEAD)
            self._sizes.append(size)
        return self._starts[number]

    def size(self, number: int) -> int:
        """Bytes of the codes of block ``number``, where it is not shorter than the others."""
        if self._coding.constant_length:
            return self._coding.read_length(self._stream.read, self._frames)[1]
        self.start(number + 1)
        return self._sizes[number]
