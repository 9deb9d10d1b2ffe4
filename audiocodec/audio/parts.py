"""Files that were joined end to end (``cat a.opus b.opus``), and their parts.

In Ogg such a file is a chained stream (RFC 3533, section 4); players also accept joined FLAC and
MP3 files. libsndfile decodes the first part and stops; for an MP3 without a Xing header it stops at
an estimate. So a format's own module finds the parts, and each is decoded as a file of its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from audiocodec.audio.source import (
    ContinuationError,
    DamagedError,
    Samples,
    Source,
    UnsupportedError,
)
from audiocodec.errors import CodecError

Span = tuple[int, int]
"""The positions of a first byte and of the byte after the last one."""

BLOCK_BYTES = 2**18
_READ_AHEAD = 2**15
_ENDLESS = 2**40


@dataclass
class Part:
    """One of the files that a file was joined from.

    Args:
        spans: its bytes, in order.
        header: bytes to put before them, in place of its own header.
        endless: pretend that the file is longer than any file. libmpg123 estimates the number of
            samples from the file's length, and libsndfile stops there.
        truncated: it ends before its own end.
        decoded_samples: samples that the decoder returns, before trimming; ``None`` if libsndfile
            knows it. All numbers of samples are per channel.
        stated_samples: samples that a FLAC's header counts; checked when the part was decoded.
        skip: samples to drop at the start: the delay of an MP3's encoder and decoder.
        padding: samples to drop at the end.
        missing_samples: samples that its header counts and that are not in the file.
    """

    spans: list[Span]
    header: bytes = b""
    endless: bool = False
    truncated: bool = False
    decoded_samples: int | None = None
    stated_samples: int | None = None
    skip: int = 0
    padding: int = 0
    missing_samples: int = 0


class PartFile(io.RawIOBase):
    """A part as a read-only file, for libsndfile and FFmpeg.

    libsndfile's callbacks cannot raise: ``failure`` is the exception that a read raised.
    """

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file, self._spans, self._header = file, part.spans, part.header
        self._end = len(part.header) + sum(end - start for start, end in part.spans)
        self._stated_end = _ENDLESS if part.endless else self._end
        self._position = 0
        self._buffer_start = 0
        self._buffer = memoryview(b"")
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._stated_end)[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        try:
            view = memoryview(buffer).cast("B")
            count = 0
            while count < len(view) and (read := self._read_some(view[count:])):
                count += read
                self._position += read
            return count
        except BaseException as failure:
            self.failure = failure
            return 0

    def _read_some(self, buffer: memoryview) -> int:
        """Read from the current position, not beyond the end of its span."""
        at = self._position
        if at < len(self._header):
            data = self._header[at : at + len(buffer)]
            buffer[: len(data)] = data
            return len(data)
        at -= len(self._header)
        for start, end in self._spans:
            if at < end - start:
                available = self._buffered(start + at)[: min(len(buffer), end - start - at)]
                buffer[: len(available)] = available
                return len(available)
            at -= end - start
        # An endless part has zeros where libmpg123 looks for an ID3v1 tag.
        if self._position >= self._stated_end - 128 > self._end:
            buffer[:] = bytes(len(buffer))
            return len(buffer)
        return 0

    def _buffered(self, position: int) -> memoryview:
        """Some of the file's bytes from ``position`` on. Decoders read a few bytes at a time."""
        if not self._buffer_start <= position < self._buffer_start + len(self._buffer):
            self._file.seek(position)
            self._buffer_start = position
            self._buffer = memoryview(self._file.read(_READ_AHEAD))
        return self._buffer[position - self._buffer_start :]


def find_positions(file: BinaryIO, start: int, pattern: re.Pattern[bytes], size: int) -> list[int]:
    """The positions of ``pattern``, of ``size`` bytes, from ``start`` on, then the file's end."""
    found = []
    tail, at = b"", start
    file.seek(start)
    while data := file.read(BLOCK_BYTES):
        data = tail + data
        at -= len(tail)
        found += [at + match.start() for match in pattern.finditer(data)]
        at += len(data)
        tail = data[1 - size :]
    return [*found, at]


class JoinedSource(Source):
    """The parts of a file, one after the other.

    Args:
        parts: at least one.
        open_part: makes the source of a part.

    Raises:
        UnsupportedError: there are no parts, or the first one cannot be opened.
    """

    def __init__(self, parts: Sequence[Part], open_part: Callable[[Part], Source]) -> None:
        if not parts:
            raise UnsupportedError
        self._parts, self._open_part = list(parts), open_part
        self._next = 1
        self._truncation_counted = False
        self._source = open_part(self._parts[0])
        following = sum(map(self._num_samples, self._parts[1:]))
        super().__init__(
            self._source.sample_rate, self._source.channels, self._source.num_samples + following
        )

    def _num_samples(self, part: Part) -> int:
        counted = part.decoded_samples
        if counted is None:
            counted = part.stated_samples or None
        if counted is not None:
            return counted - part.skip - part.padding
        try:
            source = self._open_part(part)
        except (UnsupportedError, CodecError):
            return 0
        source.close()
        return source.num_samples

    def read(self, size: int) -> Samples:
        while True:
            samples = self._source.read(size)
            if len(samples):
                return samples
            if self._source.truncated and not self._truncation_counted:
                self._truncation_counted = True
                self.truncated = True
                self.missing_samples += self._source.missing_samples
            if self._next == len(self._parts):
                return samples
            self._open_next()

    def _open_next(self) -> None:
        self._source.close()
        try:
            self._source = self._open_part(self._parts[self._next])
        except (UnsupportedError, CodecError):
            raise DamagedError("what follows cannot be read") from None
        self._next += 1
        self._truncation_counted = False
        rate, channels = self._source.sample_rate, self._source.channels
        if (rate, channels) != (self.sample_rate, self.channels):
            raise ContinuationError(
                f"another part follows with {channels} channels at {rate} Hz",
                "encode its parts one by one, or convert it to WAV",
            )

    def close(self) -> None:
        self._source.close()
