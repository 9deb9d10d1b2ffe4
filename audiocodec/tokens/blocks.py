"""Blocks and trailer of a `.tok` file: their bytes, and a reader that reads them in order."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from audiocodec.errors import CodecError
from audiocodec.tokens.arrived import together
from audiocodec.tokens.coding import Coding, coding_of
from audiocodec.tokens.header import CRC, held_codebooks, read_header
from audiocodec.tokens.packing import Codes

if TYPE_CHECKING:
    from audiocodec.tokens.context import ContextModel

TRAILER = struct.Struct("<BQI")
TRAILER_MARK = b"\0"
"""In place of a block's frame count."""


BLOCK_OVERHEAD = 1 + CRC.size
"""Bytes of a block's frame count and CRC."""


def write_block(coding: Coding, number: int, codes: Codes) -> bytes:
    """Block ``number`` of a file, with codes ``[C, K, f]``, ``f`` from 1 to 255."""
    block = bytes([codes.shape[2]]) + coding.pack(codes)
    return block + _block_crc(number, block)


def write_trailer(num_samples: int) -> bytes:
    """The end of a file with ``num_samples`` samples per channel."""
    trailer = TRAILER_MARK + struct.pack("<Q", num_samples)
    return trailer + CRC.pack(zlib.crc32(trailer))


def read_trailer(data: bytes) -> int | None:
    """``num_samples``, or ``None`` where ``data`` is no trailer."""
    if len(data) != TRAILER.size:
        return None
    _, num_samples, _ = TRAILER.unpack(data)
    return num_samples if data == write_trailer(num_samples) else None


class Block(NamedTuple):
    """The bytes of a block's codes, its frames, and whether the CRC confirmed them."""

    data: bytes
    frames: int
    checked: bool


class BlockReader:
    """Reads a `.tok` file in order, one block in memory, from any binary input.

    ``with BlockReader(sys.stdin.buffer) as tokens: for codes in tokens.pieces(): ...``

    The input is read from its current position, and stays open. It does not have to seek.

    Attributes:
        header: known from the start.
        num_bytes, num_frames: how many have been read.
        num_samples: the same in samples per channel, at the original rate; exact at the end.
        truncated: true until the trailer has been read. At the end: the input was cut short, and
            all numbers count up to the cut.

    Args:
        stream: ``read(n)`` returns 1 to ``n`` bytes, and none only at the end.
        path: name of the input, for messages.
        context: the context model that the codes may be coded with; bundled ones are found without.

    Raises:
        CodecError: not a token file, of a newer version, or with a damaged header.
    """

    def __init__(
        self,
        stream: BinaryIO,
        path: Path = Path("stdin"),
        context: ContextModel | None = None,
    ) -> None:
        self.path = path
        self._stream = stream
        self.num_bytes = self.num_frames = self.num_samples = 0
        self.truncated = True
        self.header = read_header(self._read, self.path)
        with self._named():
            self.coding = coding_of(self.header, context)

    def __enter__(self) -> BlockReader:
        return self

    def __exit__(self, *exception: object) -> None:
        """The stream belongs to the caller."""

    @property
    def seconds(self) -> float:
        return self.num_samples / self.header.original_sample_rate

    @property
    def total_samples(self) -> int | None:
        """Samples per channel of the whole file; ``None`` as long as they are not known."""
        return None if self.truncated else self.num_samples

    def pieces(self, num_codebooks: int | None = None) -> Iterator[Codes]:
        """Codes int64 ``[C, K, f]``, ``f > 0``, of each block as soon as it has arrived.

        Blocks that have arrived together are decoded together where that is faster, twice as many
        each time. Nothing waits for a block that has not arrived.

        Args:
            num_codebooks: ``K``, the first ones of the file; ``None`` for all.

        Raises:
            CodecError: more codebooks than the file holds, a damaged block or trailer.
        """
        num_codebooks = held_codebooks(self.header, num_codebooks, self.path)
        for blocks in together(self._blocks(), self._stream, self.coding):
            for codes in self.decode(blocks):
                self._count(codes.shape[2])
                if codes.shape[2]:
                    yield codes[:, :num_codebooks]
        self._read_end()

    def count_frames(self) -> None:
        """Read to the end without the codes of blocks whose CRC is right.

        Raises:
            CodecError: a damaged block or trailer; what was read before it is counted.
        """
        for block in self._blocks():
            self._count(block.frames if block.checked else self.decode([block])[0].shape[2])
        self._read_end()

    def _blocks(self) -> Iterator[Block]:
        last = self.header.block_frames
        for number in itertools.count():
            block = self.read_block(number)
            if block is None:
                return
            if last < self.header.block_frames:  # only the last block may be shorter
                raise self.damaged(number)
            last = block.frames
            yield block

    def _count(self, frames: int) -> None:
        self.num_frames += frames
        self.num_samples = self.header.num_samples(self.num_frames)

    def read_block(self, number: int) -> Block | None:
        """The block at the current position, which must be block ``number`` of the file.

        Where the input ends inside the block, what there is of it, unchecked.

        Returns:
            ``None`` at the trailer's mark, which is read too, and at the end of the input.

        Raises:
            CodecError: the block is damaged.
        """
        count = self._read(1)
        if count in (b"", TRAILER_MARK):
            return None
        (frames,) = count
        if frames > self.header.block_frames:
            raise self.damaged(number)
        try:
            head, size = self.coding.read_length(self._read, frames)
        except CodecError:
            raise self.damaged(number) from None
        data = head + self._read(size)
        crc = self._read(CRC.size)
        if len(crc) == CRC.size:
            if crc != _block_crc(number, count + data):
                raise self.damaged(number)
            return Block(data, frames, checked=True)
        if read_trailer((count + data + crc)[-TRAILER.size :]) is not None:
            raise self.damaged(number)  # nothing is missing: its frames or its length are wrong
        if len(count + data + crc) == TRAILER.size:
            frames = 0  # more likely a trailer with a damaged mark than a block cut right here
        return Block(data, frames, checked=False)

    def decode(self, blocks: Sequence[Block]) -> list[Codes]:
        """Codes ``[C, K, f]`` of blocks; of one without a CRC the whole frames.

        Raises:
            CodecError: the context model is not at hand, or no encoder wrote the blocks.
        """
        with self._named():
            checked = iter(self.coding.unpack([block[:2] for block in blocks if block.checked]))
            return [
                next(checked) if block.checked else self.coding.salvage(*block[:2])
                for block in blocks
            ]

    def damaged(self, number: int) -> CodecError:
        """The error for block ``number``."""
        start = number * self.header.block_frames / self.header.frame_rate
        return CodecError(
            f"{self.path}: damaged at {start:.1f} s (block {number}); get the file again"
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors begin with the name of the input."""
        try:
            yield
        except CodecError as error:
            raise CodecError(f"{self.path}: {error}") from None

    def _read_end(self) -> None:
        """What follows the trailer's mark: nothing, where the input was cut short."""
        trailer = TRAILER_MARK + self._read(TRAILER.size - 1)
        if len(trailer) < TRAILER.size:
            return
        num_samples = read_trailer(trailer)
        if num_samples is None or self.header.num_frames(num_samples) != self.num_frames:
            raise CodecError(f"{self.path}: its trailer is damaged; get the file again")
        self.num_samples, self.truncated = num_samples, False

    def _read(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer only at the end, also of a pipe without a buffer."""
        data = self._stream.read(size)
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        self.num_bytes += len(data)
        return data


def _block_crc(number: int, block: bytes) -> bytes:
    """The CRC that follows block ``number``, whose other bytes are ``block``."""
    return CRC.pack(zlib.crc32(block, zlib.crc32(struct.pack("<I", number))))
