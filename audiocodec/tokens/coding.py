"""Codings: how the codes of a block become bytes. Each is one class, and one entry of `CODINGS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from audiocodec.errors import CodecError
from audiocodec.tokens.header import CONTEXT, FIXED, TokenHeader
from audiocodec.tokens.packing import Codes, pack, unpack
from audiocodec.tokens.rates import frame_bits

if TYPE_CHECKING:
    from audiocodec.tokens.context import ContextModel


class Coding(Protocol):
    """The bytes of blocks' codes ``[C, K, F]``, without frame counts and CRCs.

    Blocks are independent of each other: a reader may begin at any block.
    """

    rows_at_once: int
    """Blocks that are best decoded together."""
    constant_length: bool
    """Whether all blocks of equal frames have as many bytes, and state no length."""

    @property
    def context(self) -> ContextModel | None:
        """The context model that the codes are coded with, if any.

        Raises:
            CodecError: it is not at hand.
        """

    def pack(self, codes: Codes) -> bytes:
        """Codes ``[C, K, F]`` of a block -> bytes.

        Raises:
            CodecError: a code outside its codebook.
        """

    def unpack(self, blocks: Sequence[tuple[bytes, int]]) -> list[Codes]:
        """The inverse of :meth:`pack` for several blocks: their bytes and numbers of frames.

        Raises:
            CodecError: bytes that :meth:`pack` did not write.
        """

    def read_length(self, read: Callable[[int], bytes], frames: int) -> tuple[bytes, int]:
        """The beginning of a block's bytes, as far as it states a length, and how many follow.

        Args:
            read: returns the next n bytes of the input, fewer at its end.
            frames: frames of the block.

        Raises:
            CodecError: a length that no block of so many frames has.
        """

    def salvage(self, data: bytes, frames: int) -> Codes:
        """The whole frames ``[C, K, f]``, ``f <= frames``, of a block whose end is missing."""


class FixedCoding:
    """Each code takes ceil(log2(size)) bits, so blocks of equal frames have equal lengths."""

    rows_at_once = 1
    constant_length = True
    context = None

    def __init__(self, header: TokenHeader, context: ContextModel | None = None) -> None:
        self.channels, self.sizes = header.channels, header.codebook_sizes
        self.frame_bits = frame_bits(self.sizes, self.channels)

    def pack(self, codes: Codes) -> bytes:
        return pack(codes, self.sizes)

    def unpack(self, blocks: Sequence[tuple[bytes, int]]) -> list[Codes]:
        return [unpack(data, frames, self.channels, self.sizes) for data, frames in blocks]

    def read_length(self, read: Callable[[int], bytes], frames: int) -> tuple[bytes, int]:
        return b"", -(-frames * self.frame_bits // 8)

    def salvage(self, data: bytes, frames: int) -> Codes:
        if not self.frame_bits:
            return np.zeros((self.channels, len(self.sizes), 0), np.int64)
        frames = min(frames, len(data) * 8 // self.frame_bits)
        codes = unpack(data, frames, self.channels, self.sizes)
        inside = (codes < np.array(self.sizes)[:, None]).all(axis=(0, 1))
        return codes if inside.all() else codes[:, :, : int(inside.argmin())]


def _context(header: TokenHeader, context: ContextModel | None) -> Coding:
    from audiocodec.tokens.context.coding import ContextCoding

    return ContextCoding(header, context)


CODINGS: dict[str, Callable[[TokenHeader, ContextModel | None], Coding]] = {
    FIXED: FixedCoding,
    CONTEXT: _context,
}
"""Every coding, by :attr:`TokenHeader.coding`: a function of the header and a context model."""


def coding_of(header: TokenHeader, context: ContextModel | None = None) -> Coding:
    """The coding of the blocks that follow ``header``.

    Args:
        context: the context model of the codec that made the codes, where a coding needs one.

    Raises:
        CodecError: a coding that this program does not know.
    """
    if header.coding not in CODINGS:
        raise CodecError(
            f"has coding `{header.coding}`, which this program does not know; update audiocodec"
        )
    return CODINGS[header.coding](header, context)
