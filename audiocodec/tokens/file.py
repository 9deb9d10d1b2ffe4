r"""The `.tok` file: codes on disk, checked, seekable, and readable up to a cut.

All numbers are little-endian and unsigned. A file is a header, blocks and a trailer:

    header    magic    4 bytes  89 54 4F 4B ("\x89TOK")
              version  u8       1
              length   u16      bytes of the fields that follow, without the CRC
              fingerprint  8 bytes  of the model; in text, 16 hex digits
              sample_rate  u32      Hz, what the model works at
              hop_length   u16      samples per frame: frame rate = sample_rate / hop_length, exact
              original_sample_rate  u32  Hz, of the audio that was encoded
              channels     u16
              block_frames u8       frames in every block but the last
              runs         u8       then, for each run of equal codebooks:
                                    u8 how many, u32 size of each
              name         u8 length and so many bytes of UTF-8: the model's name
              CRC      u32      of all bytes before it
    blocks    frames   u8       block_frames; in the last block 1 to block_frames
              codes             packed, zero bits up to a whole byte
              CRC      u32      of the block's number (u32, from 0; not stored), frames and codes
    trailer   mark     u8       0, where a block has its number of frames
              num_samples  u64  per channel, at original_sample_rate
              CRC      u32      of mark and num_samples

CRC is CRC-32 as in zip and PNG. Codes are packed by frame; in a frame by channel, side by side; in
a channel by codebook. A code of a codebook of `size` entries takes ceil(log2(size)) bits, highest
bit first, with no gap between codes.

Every block but the last is equally long, so block i begins at `header + i * block` and no index
has to be stored. Nothing is rounded either: the signal that the model encoded has
ceil(num_samples * sample_rate / original_sample_rate) samples, and ceil(that / hop_length) frames.
A reader passes over header bytes that follow the fields it knows, and refuses a greater version.

A file without its trailer was cut short. It is good up to the cut; the block that it ends in has
lost its CRC, and its whole frames are taken unchecked.

Blocks of three seconds and a header of some 50 bytes keep the cost of all this under 5 % for 10 s
and more at 1.5 kbit/s; a JSON text of the same fields would have cost 10 % by itself.
"""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from audiocodec.errors import CodecError
from audiocodec.paths import check_file, replacing, writing
from audiocodec.tokens.header import CRC, SUFFIX, VERSION, TokenHeader, read_header
from audiocodec.tokens.packing import Codes, code_array, pack, unpack

__all__ = ["SUFFIX", "VERSION", "TokenFile", "TokenHeader", "TokenWriter"]

TRAILER = struct.Struct("<BQI")


class TokenWriter:
    """A token file written as the codes come; it appears whole at the end, or not at all.

    ``with TokenWriter(path, header) as writer: writer.write(codes); writer.finish(num_samples)``

    A binary stream, such as ``io.BytesIO()``, may stand for the path; it stays open. Where
    ``pipe`` is given, an unbuffered binary stream, the same bytes go there, each block at
    once, and ``path`` is only what messages call it.

    Raises:
        CodecError: not writable, disk full, codes that do not fit the header, no ``finish``.
        BrokenPipeError: nobody reads ``pipe`` any more.
    """

    def __init__(
        self, path: str | Path | BinaryIO, header: TokenHeader, pipe: BinaryIO | None = None
    ) -> None:
        self.path, self.header = _name(path), header
        self.num_frames = self.num_bytes = 0
        self._pipe = pipe if isinstance(path, (str, Path)) else path
        self._waiting = np.zeros((header.channels, header.num_codebooks, 0), dtype=np.int64)
        self._blocks = itertools.count()
        self._finished = False
        self._context: AbstractContextManager[TokenWriter]

    def __enter__(self) -> TokenWriter:
        self._context = self._writing()
        return self._context.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._context.__exit__(kind, exception, traceback)

    @contextmanager
    def _writing(self) -> Iterator[TokenWriter]:
        with self._opened() as self._file:
            self._put(self.header.to_bytes())
            yield self
            if not self._finished:
                raise CodecError(f"{self.path}: finish(num_samples) was not called")

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO | FileIO]:
        if self._pipe:
            yield self._pipe
            return
        # Unbuffered: whole blocks are written, and a full disk is met here, not on closing.
        with replacing(self.path) as temporary, temporary.open("wb", buffering=0) as file:
            yield file

    def write(self, codes: Any) -> None:
        """Append codes ``[C, K, f]``, ``f >= 0``, or ``[K, f]`` of one channel.

        They are integers in an array or a tensor.
        """
        header = self.header
        codes = code_array(codes)
        if codes.shape[:2] != self._waiting.shape[:2]:
            raise CodecError(
                f"{self.path}: takes codes [{header.channels}, {header.num_codebooks}, frames], "
                f"not {list(codes.shape)}"
            )
        self.num_frames += codes.shape[2]
        joined = np.concatenate([self._waiting, codes], axis=2)
        whole = joined.shape[2] - joined.shape[2] % header.block_frames
        for start in range(0, whole, header.block_frames):
            self._write_block(joined[:, :, start : start + header.block_frames])
        self._waiting = joined[:, :, whole:]

    def finish(self, num_samples: int) -> None:
        """Write the rest and the trailer; ``num_samples`` per channel at the original rate."""
        if self.num_frames != self.header.num_frames(num_samples):
            raise CodecError(
                f"{self.path}: {num_samples} samples are {self.header.num_frames(num_samples)} "
                f"frames, but {self.num_frames} were written"
            )
        if self._waiting.shape[2]:
            self._write_block(self._waiting)
        trailer = struct.pack("<BQ", 0, num_samples)
        self._put(trailer + CRC.pack(zlib.crc32(trailer)))
        self._finished = True

    def _write_block(self, codes: Codes) -> None:
        block = bytes([codes.shape[2]]) + pack(codes, self.header.codebook_sizes)
        self._put(block + CRC.pack(block_crc(next(self._blocks), block)))

    def _put(self, data: bytes) -> None:
        self.num_bytes += len(data)
        with writing(self.path):
            while data:
                data = data[self._file.write(data) :]


class TokenFile:
    """A token file opened for reading, anywhere in it and in any number of codebooks.

    ``with TokenFile("speech.tok") as tokens: codes = tokens.read(0, 100, num_codebooks=3)``

    A binary stream that can seek, such as ``io.BytesIO(data)``, may stand for the path. It is read
    from its beginning and stays open.

    ``header`` describes it; ``num_frames`` and ``num_samples`` (per channel, at the original rate)
    say how much there is. Of a file that was cut short, ``truncated`` is true and both count up to
    the cut. Each block is checked when it is read; :meth:`verify` checks them all.

    Raises:
        CodecError: missing, not a token file, of a newer version, or damaged.
    """

    def __init__(self, path: str | Path | BinaryIO) -> None:
        self.path = _name(path)
        self._owned = isinstance(path, (str, Path))
        self._file = path if not isinstance(path, (str, Path)) else _opened(self.path)
        try:
            self.num_bytes = _size(self._file, self.path)
            self.header = read_header(self._file, self.path)
            self._blocks_at = self._file.tell()
            self._cut_block = -1
            self.num_samples = self._read_trailer()
            self.truncated = self.num_samples < 0
            if self.truncated:
                self.num_frames = self._frames_before_cut()
                encoded = self.num_frames * self.header.hop_length
                self.num_samples = (
                    encoded * self.header.original_sample_rate // self.header.sample_rate
                )
            else:
                self.num_frames = self.header.num_frames(self.num_samples)
                self._check_size()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TokenFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a stream that was given stays open."""
        if self._owned:
            self._file.close()

    @property
    def seconds(self) -> float:
        return self.num_samples / self.header.original_sample_rate

    @property
    def payload_bytes(self) -> float:
        """Bytes that the codes alone take."""
        return self.num_frames * self.header.frame_bits / 8

    def read(
        self, start: int = 0, stop: int | None = None, num_codebooks: int | None = None
    ) -> Codes:
        """Codes int64 ``[C, K, F]`` of frames ``start`` to ``stop``, of the first codebooks.

        Raises:
            CodecError: frames or codebooks that the file does not hold, or a damaged block.
        """
        header = self.header
        stop = self.num_frames if stop is None else stop
        if not 0 <= start <= stop <= self.num_frames:
            raise CodecError(
                f"{self.path}: holds frames 0 to {self.num_frames}, not {start} to {stop}"
            )
        num_codebooks = held_codebooks(header, num_codebooks, self.path)
        first = start // header.block_frames
        blocks = [
            self._read_block(number)[:, :num_codebooks]
            for number in range(first, -(-stop // header.block_frames))
        ]
        nothing = np.zeros((header.channels, num_codebooks, 0), dtype=np.int64)
        skipped = first * header.block_frames
        return np.concatenate([nothing, *blocks], axis=2)[:, :, start - skipped : stop - skipped]

    def pieces(self, num_codebooks: int | None = None, frames: int = 0) -> Iterator[Codes]:
        """All of it, codes ``[C, K, f]``, ``frames`` at a time; for 0, a block at a time.

        Raises:
            CodecError: as :meth:`read`.
        """
        frames = frames or self.header.block_frames
        for start in range(0, self.num_frames, frames):
            yield self.read(start, min(start + frames, self.num_frames), num_codebooks)

    def verify(self) -> None:
        """Read and check every block, in the memory of one. CodecError names the first bad one."""
        for number in range(-(-self.num_frames // self.header.block_frames)):
            self._read_block(number)

    def _read_trailer(self) -> int:
        """``num_samples``, or -1 where there is no trailer."""
        if self.num_bytes - self._blocks_at < TRAILER.size:
            return -1
        self._file.seek(self.num_bytes - TRAILER.size)
        trailer = self._file.read(TRAILER.size)
        mark, num_samples, crc = TRAILER.unpack(trailer)
        whole = mark == 0 and crc == zlib.crc32(trailer[: -CRC.size])
        return num_samples if whole else -1

    def _check_size(self) -> None:
        blocks, rest = divmod(self.num_frames, self.header.block_frames)
        expected = blocks * self.header.block_bytes(self.header.block_frames) + TRAILER.size
        expected += self.header.block_bytes(rest) if rest else 0
        if self.num_bytes - self._blocks_at != expected:
            raise CodecError(
                f"{self.path}: damaged: {self.num_bytes} bytes long where "
                f"{self._blocks_at + expected} are due; get the file again"
            )

    def _frames_before_cut(self) -> int:
        """How many frames of a file without trailer can be read."""
        frames = 0
        for number in itertools.count():
            try:
                found = self._read_block(number, known=False).shape[2]
            except CodecError:
                # The block that the file ends in has lost its CRC, but not its first frames.
                self._cut_block = number
                return frames + self._read_cut_block(number).shape[2]
            frames += found
            if found < self.header.block_frames:
                break
        return frames

    def _read_block(self, number: int, known: bool = True) -> Codes:
        """Codes ``[C, K, f]`` of a block; while ``num_frames`` is not ``known``, as it says."""
        if number == self._cut_block:
            return self._read_cut_block(number)
        header = self.header
        frames, rest = self._block_at(number)
        start = number * header.block_frames
        due = min(header.block_frames, self.num_frames - start) if known else frames
        packed, crc = rest[: -CRC.size], rest[-CRC.size :]
        if (
            frames != due
            or not 1 <= frames <= header.block_frames
            or len(rest) + 1 != header.block_bytes(frames)
            or block_crc(number, bytes([frames]) + packed) != CRC.unpack(crc)[0]
        ):
            raise CodecError(
                f"{self.path}: damaged at {start / header.frame_rate:.1f} s "
                f"(block {number}); get the file again"
            )
        return unpack(packed, frames, header.channels, header.codebook_sizes)

    def _read_cut_block(self, number: int) -> Codes:
        """The whole frames of a block that the file ends in, ``[C, K, f]``; unchecked by a CRC."""
        frames, rest = self._block_at(number)
        complete = len(rest) + 1 >= self.header.block_bytes(frames)
        trailer_size = len(rest) + 1 == TRAILER.size  # more likely a damaged trailer
        return whole_frames(self.header, 0 if complete or trailer_size else frames, rest)

    def _block_at(self, number: int) -> tuple[int, bytes]:
        """A block's count of frames and what of its other bytes is there."""
        self._file.seek(
            self._blocks_at + number * self.header.block_bytes(self.header.block_frames)
        )
        count = self._file.read(1)
        frames = count[0] if count else 0
        return frames, self._file.read(self.header.block_bytes(frames) - 1)


def _opened(path: Path) -> BinaryIO:
    try:
        check_file(path, SUFFIX)
        return path.open("rb")
    except FileNotFoundError:
        raise CodecError(f"{path}: no such file") from None
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror})") from None


def _size(file: BinaryIO, path: Path) -> int:
    """Bytes of a file, which then stands at its beginning."""
    if not file.seekable():
        raise CodecError(
            f"{path}: a stream that cannot seek; decode_file takes it, or give its bytes in "
            "an io.BytesIO"
        )
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _name(place: str | Path | BinaryIO) -> Path:
    """What messages call a path or a stream."""
    if isinstance(place, (str, Path)):
        return Path(place)
    name = getattr(place, "name", None)
    return Path(name if isinstance(name, str) else "stream")


def held_codebooks(header: TokenHeader, num_codebooks: int | None, path: Path) -> int:
    """``num_codebooks``, or all for ``None``. CodecError unless ``header`` says so many."""
    if num_codebooks is None:
        return header.num_codebooks
    if not 1 <= num_codebooks <= header.num_codebooks:
        raise CodecError(
            f"{path}: holds {header.num_codebooks} codebooks; {num_codebooks} asked for"
        )
    return num_codebooks


def whole_frames(header: TokenHeader, frames: int, rest: bytes) -> Codes:
    """The frames ``[C, K, f]`` that ``rest`` still holds of a block of ``frames`` that was cut."""
    if frames > header.block_frames or not header.frame_bits:
        frames = 0
    frames = min(frames, len(rest) * 8 // max(1, header.frame_bits))
    codes = unpack(rest, frames, header.channels, header.codebook_sizes)
    inside = (codes < np.array(header.codebook_sizes)[:, None]).all(axis=(0, 1))
    return codes[:, :, : frames if inside.all() else int(inside.argmin())]


def block_crc(number: int, block: bytes) -> int:
    """The CRC that follows block ``number``, whose other bytes are ``block``."""
    return zlib.crc32(block, zlib.crc32(struct.pack("<I", number)))
