"""Token files opened for reading: anywhere in a file that can seek, in order in a stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from audiocodec.errors import CodecError
from audiocodec.paths import check_file, stream_name
from audiocodec.tokens.blocks import BLOCK_OVERHEAD, TRAILER, BlockReader, read_trailer
from audiocodec.tokens.header import SUFFIX, held_codebooks
from audiocodec.tokens.index import BlockIndex
from audiocodec.tokens.packing import Codes

if TYPE_CHECKING:
    from audiocodec.tokens.context import ContextModel

PIECE_SECONDS = 4.0


class TokenFile:
    """A token file opened for reading, at any frame and with any number of codebooks.

    ``with TokenFile("speech.tok") as tokens: codes = tokens.read(0, 100, num_codebooks=3)``

    Each block is checked when it is read; :meth:`verify` checks all.

    Attributes:
        path: the file's name, for messages.
        header: what the file says of its codes.
        num_bytes: size of the file.
        num_frames: frames in the file; up to the cut, if ``truncated``.
        num_samples: the same in samples per channel, at the original rate.
        truncated: the file was cut short.

    Args:
        source: a path; or a binary stream that can seek, such as ``io.BytesIO(data)``. A stream is
            read from its beginning and stays open.
        context: the context model that the codes may be coded with. It is needed to read codes; a
            bundled one is found without.

    Raises:
        CodecError: missing, not a token file, of a newer version, or damaged.
    """

    def __init__(self, source: str | Path | BinaryIO, context: ContextModel | None = None) -> None:
        if isinstance(source, (str, Path)):
            self.path = Path(source)
            self._stream, self._owned = _open(self.path), True
        else:
            self.path = stream_name(source, "stream")
            self._stream, self._owned = source, False
        try:
            self.num_bytes = _rewind(self._stream, self.path)
            self._blocks = BlockReader(self._stream, self.path, context)
            self.header = self._blocks.header
            first, frames = self._blocks.num_bytes, self.header.block_frames
            self._index = BlockIndex(self._stream, self._blocks.coding, first, frames)
            num_samples = self._read_trailer()
            self.truncated = num_samples is None
            if num_samples is None:
                self._read_to_the_cut()
            else:
                self.num_samples, self.num_frames = num_samples, self.header.num_frames(num_samples)
                if self._blocks.coding.constant_length:
                    self._check_size(self._end_of_equal_blocks() + TRAILER.size)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TokenFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. A stream that was passed in stays open."""
        if self._owned:
            self._stream.close()

    @property
    def seconds(self) -> float:
        return self.num_samples / self.header.original_sample_rate

    @property
    def total_samples(self) -> int | None:
        """``num_samples``; as in :class:`BlockReader`."""
        return self.num_samples

    @property
    def context(self) -> ContextModel | None:
        """The context model that its codes are coded with, if any.

        Raises:
            CodecError: it is not at hand.
        """
        return self._blocks.coding.context

    @property
    def num_blocks(self) -> int:
        return -(-self.num_frames // self.header.block_frames)

    @property
    def payload_bytes(self) -> float:
        """Bytes of the codes alone; of a file that was cut short, of its whole blocks."""
        if self._blocks.coding.constant_length:
            return self.num_frames * self.header.frame_bits / 8
        total = 0
        with suppress(CodecError):
            for number in range(self.num_blocks):
                total += self._index.size(number)
        return total

    def read(
        self, start: int = 0, stop: int | None = None, num_codebooks: int | None = None
    ) -> Codes:
        """Codes int64 ``[C, K, F]`` of frames ``start`` to ``stop``.

        Args:
            start: first frame.
            stop: the frame after the last; ``None`` for the end.
            num_codebooks: ``K``, the first ones of the file; ``None`` for all.

        Raises:
            CodecError: frames or codebooks that the file does not hold, or a damaged block.
        """
        stop = self.num_frames if stop is None else stop
        if not 0 <= start <= stop <= self.num_frames:
            raise CodecError(
                f"{self.path}: holds frames 0 to {self.num_frames}, not {start} to {stop}"
            )
        num_codebooks = held_codebooks(self.header, num_codebooks, self.path)
        block_frames = self.header.block_frames
        numbers = range(start // block_frames, -(-stop // block_frames))
        blocks = [codes[:, :num_codebooks] for codes in self._read_blocks(numbers)]
        empty = np.zeros((self.header.channels, num_codebooks, 0), dtype=np.int64)
        skipped = numbers.start * block_frames
        return np.concatenate([empty, *blocks], axis=2)[:, :, start - skipped : stop - skipped]

    def pieces(
        self,
        num_codebooks: int | None = None,
        frames: int = 0,
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[Codes]:
        """All codes in order, int64 ``[C, K, f]`` with ``0 < f <= frames``.

        Args:
            num_codebooks: ``K``, the first ones of the file; ``None`` for all.
            frames: of each piece but the last; 0 for four seconds.
            start, stop: as in :meth:`read`.

        Raises:
            CodecError: what :meth:`read` raises.
        """
        stop = self.num_frames if stop is None else stop
        frames = frames or max(1, round(PIECE_SECONDS * self.header.frame_rate))
        at_once = self._blocks.coding.rows_at_once
        read = frames if at_once == 1 else at_once * self.header.block_frames
        for begin in range(start, stop, read):
            codes = self.read(begin, min(begin + read, stop), num_codebooks)
            for first in range(0, codes.shape[2], frames):
                yield codes[:, :, first : first + frames]

    def verify(self) -> None:
        """Read and check every block, a few in memory.

        Raises:
            CodecError: names the first damaged block.
        """
        at_once = self._blocks.coding.rows_at_once
        for first in range(0, self.num_blocks, at_once):
            for _ in self._read_blocks(range(first, min(first + at_once, self.num_blocks))):
                pass
        if not (self.truncated or self._blocks.coding.constant_length):
            self._check_size(self._start(self.num_blocks) + TRAILER.size)

    def _read_trailer(self) -> int | None:
        """``num_samples``, or ``None`` where the file has no intact trailer."""
        if self.num_bytes - self._index.first < TRAILER.size:
            return None
        self._stream.seek(self.num_bytes - TRAILER.size)
        return read_trailer(self._stream.read(TRAILER.size))

    def _read_to_the_cut(self) -> None:
        """Count the frames of a file without trailer. It can be read up to a damaged block."""
        self._blocks.decode([])  # raises, where no block could be decoded
        self._stream.seek(self._index.first)
        with suppress(CodecError):
            self._blocks.count_frames()
        self.num_frames, self.num_samples = self._blocks.num_frames, self._blocks.num_samples

    def _end_of_equal_blocks(self) -> int:
        whole, rest = divmod(self.num_frames, self.header.block_frames)
        last = self._blocks.coding.read_length(self._stream.read, rest)[1] + BLOCK_OVERHEAD
        return self._index.start(whole) + (last if rest else 0)

    def _check_size(self, expected: int) -> None:
        if self.num_bytes != expected:
            raise CodecError(
                f"{self.path}: damaged: {self.num_bytes} bytes long where "
                f"{expected} are due; get the file again"
            )

    def _read_blocks(self, numbers: range) -> list[Codes]:
        """Codes ``[C, K, f]`` of some blocks."""
        blocks = []
        for number in numbers:
            self._stream.seek(self._start(number))
            block = self._blocks.read_block(number)
            if block is None or not (block.checked or self.truncated):
                raise self._blocks.damaged(number)
            blocks.append(block)
        found = self._blocks.decode(blocks)
        for number, codes in zip(numbers, found, strict=True):
            due = self.num_frames - number * self.header.block_frames
            if codes.shape[2] != min(due, self.header.block_frames):
                raise self._blocks.damaged(number)
        return found

    def _start(self, number: int) -> int:
        try:
            return self._index.start(number)
        except CodecError:
            raise self._blocks.damaged(number) from None


def _open(path: Path) -> BinaryIO:
    try:
        check_file(path, SUFFIX)
        return path.open("rb")
    except FileNotFoundError:
        raise CodecError(f"{path}: no such file") from None
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror})") from None


def _rewind(stream: BinaryIO, path: Path) -> int:
    """Move a stream to its beginning; how many bytes it has."""
    if not stream.seekable():
        raise CodecError(
            f"{path}: a stream that cannot seek; decode_file takes it, or give its bytes in "
            "an io.BytesIO"
        )
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return size
