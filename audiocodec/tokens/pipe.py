"""A `.tok` file read from a pipe: block by block as it comes, without a look ahead or back.

The format is that of `tokenfile.py`; its blocks say how long they are, and its trailer comes last.
So everything is known when it is needed but for the exact length, which the trailer tells.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from audiocodec.errors import CodecError
from audiocodec.tokens.file import TRAILER, block_crc, held_codebooks, whole_frames
from audiocodec.tokens.header import CRC, read_header
from audiocodec.tokens.packing import Codes, unpack


class TokenPipe:
    """Tokens from a binary stream whose ``read(n)`` waits for ``n`` bytes or the end.

    ``with TokenPipe(sys.stdin.buffer) as tokens: for codes in tokens.pieces(): ...``

    ``header`` is there at once. When the pieces have come, ``num_frames``, ``num_samples`` (per
    channel, at the original rate) and ``num_bytes`` say how much there was, and ``truncated``
    whether the stream ended before its trailer; then both count up to the cut.

    Raises:
        CodecError: not a token file, of a newer version, or damaged.
    """

    def __init__(self, stream: BinaryIO, name: str = "stdin") -> None:
        self.path = Path(name)
        self._stream = stream
        self.header = read_header(stream, self.path)
        self.num_bytes = len(self.header.to_bytes())
        self.num_frames = self.num_samples = 0
        self.truncated = True

    def __enter__(self) -> TokenPipe:
        return self

    def __exit__(self, *exception: object) -> None:
        """The stream belongs to the caller."""

    @property
    def seconds(self) -> float:
        return self.num_samples / self.header.original_sample_rate

    def pieces(self, num_codebooks: int | None = None) -> Iterator[Codes]:
        """Codes int64 ``[C, K, f]``, ``f > 0``, of the first codebooks, as each block arrives.

        Raises:
            CodecError: codebooks that the stream does not hold, or a damaged block.
        """
        num_codebooks = held_codebooks(self.header, num_codebooks, self.path)
        block_frames, number = self.header.block_frames, 0
        while mark := self._read(1):
            frames = mark[0]
            if frames == 0:
                self._finish(mark + self._read(TRAILER.size - 1))
                return
            # After a block that is not full there can only be the trailer.
            if frames > block_frames or self.num_frames % block_frames:
                raise self._damaged(number)
            codes = self._block(number, frames)
            self.num_frames += codes.shape[2]
            self.num_samples = (
                self.num_frames
                * self.header.hop_length
                * self.header.original_sample_rate
                // self.header.sample_rate
            )
            if codes.shape[2]:
                yield codes[:, :num_codebooks]
            number += 1

    def _block(self, number: int, frames: int) -> Codes:
        """Block ``number``, checked; if the stream ends in it, its whole frames, unchecked."""
        header = self.header
        rest = self._read(header.block_bytes(frames) - 1)
        if len(rest) < header.block_bytes(frames) - 1:
            return whole_frames(header, frames, rest)
        packed, crc = rest[: -CRC.size], rest[-CRC.size :]
        if block_crc(number, bytes([frames]) + packed) != CRC.unpack(crc)[0]:
            raise self._damaged(number)
        return unpack(packed, frames, header.channels, header.codebook_sizes)

    def _finish(self, trailer: bytes) -> None:
        if len(trailer) < TRAILER.size:
            return
        _, num_samples, crc = TRAILER.unpack(trailer)
        if (
            crc != zlib.crc32(trailer[: -CRC.size])
            or self.header.num_frames(num_samples) != self.num_frames
        ):
            raise CodecError(f"{self.path}: its trailer is damaged; get the file again")
        self.num_samples, self.truncated = num_samples, False

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.num_bytes += len(data)
        return data

    def _damaged(self, number: int) -> CodecError:
        at = self.num_frames / self.header.frame_rate
        return CodecError(f"{self.path}: damaged at {at:.1f} s (block {number}); get it again")
