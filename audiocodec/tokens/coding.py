"""Codings: how the codes of a block become bytes. Each is one class, and one entry of `CODINGS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from audiocodec.tokens.header import TokenHeader
from audiocodec.tokens.packing import Codes, pack, unpack
from audiocodec.tokens.rates import frame_bits


class Coding(Protocol):
    """The bytes of one block's codes ``[C, K, F]``, without its frame count and its CRC.

    Blocks are independent of each other: a reader may begin at any block.
    """

    def pack(self, codes: Codes) -> bytes:
        """Codes ``[C, K, F]`` -> bytes.

        Raises:
            CodecError: a code outside its codebook.
        """

    def unpack(self, data: bytes, frames: int) -> Codes:
        """The inverse of :meth:`pack` for a block of ``frames`` frames."""

    def read(self, read: Callable[[int], bytes], frames: int) -> bytes:
        """The bytes of the next block, fewer where the input ends.

        Args:
            read: returns the next n bytes of the input, fewer at its end.
            frames: frames of the block.
        """

    def salvage(self, data: bytes, frames: int) -> Codes:
        """The whole frames ``[C, K, f]``, ``f <= frames``, of a block whose end is missing."""

    def num_bytes(self, frames: int) -> int:
        """Bytes of a block of ``frames`` frames. A file's reader computes positions from it."""


class FixedCoding:
    """Each code takes ceil(log2(size)) bits, so blocks of equal frames have equal lengths."""

    def __init__(self, header: TokenHeader) -> None:
        self.channels, self.sizes = header.channels, header.codebook_sizes
        self.frame_bits = frame_bits(self.sizes, self.channels)

    def pack(self, codes: Codes) -> bytes:
        return pack(codes, self.sizes)

    def unpack(self, data: bytes, frames: int) -> Codes:
        return unpack(data, frames, self.channels, self.sizes)

    def read(self, read: Callable[[int], bytes], frames: int) -> bytes:
        return read(self.num_bytes(frames))

    def salvage(self, data: bytes, frames: int) -> Codes:
        if not self.frame_bits:
            return self.unpack(b"", 0)
        codes = self.unpack(data, min(frames, len(data) * 8 // self.frame_bits))
        inside = (codes < np.array(self.sizes)[:, None]).all(axis=(0, 1))
        return codes if inside.all() else codes[:, :, : int(inside.argmin())]

    def num_bytes(self, frames: int) -> int:
        return -(-frames * self.frame_bits // 8)


CODINGS: dict[str, Callable[[TokenHeader], Coding]] = {"fixed": FixedCoding}
"""Every coding, by :attr:`TokenHeader.coding`."""


def coding_of(header: TokenHeader) -> Coding:
    """The coding of the blocks that follow ``header``."""
    return CODINGS[header.coding](header)
