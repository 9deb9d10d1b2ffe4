"""What audio is read from: one interface for WAV, libsndfile and PyAV, for files and for pipes.

A file is known by its first bytes, not by its name. WAV is read here as it arrives; anything else
needs to be sought in, so what a pipe brings of it goes into a temporary file first.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from audiocodec.audio.links import (
    Link,
    View,
    after_id3,
    file_end,
    flac_links,
    mp3_links,
    ogg_links,
    other_links,
)
from audiocodec.audio.media import MediaSource, is_media
from audiocodec.audio.wav import (
    RawFormat,
    RawSource,
    WavHeader,
    WavSource,
    is_wav,
    read_wav_header,
)
from audiocodec.errors import CodecError, DamagedError, RestError

Frames = npt.NDArray[np.float32]

_UNKNOWN = 2**40  # libsndfile says more samples than this where it does not know
_SPOOL_BYTES = 2**20


class Source(Protocol):
    """Audio read once, from its start to its end.

    ``num_samples`` (per channel) is what the header says or suggests, 0 where nobody knows. After
    the last samples ``truncated`` says whether the input was cut short, and ``missing`` how many
    samples its header counts beyond the cut (0 where nobody knows).
    """

    sample_rate: int
    channels: int
    num_samples: int
    truncated: bool
    missing: int

    def read(self, size: int) -> Frames:
        """The next ``[n, C]``, ``1 <= n <= size``; ``n = 0`` at the end."""
        ...

    def close(self) -> None: ...


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """soundfile seeks to the place where it is after every read; of MP3 and FLAC that costs time,
    and libmpg123 then complains on stderr of a good file."""

    def seekable(self) -> bool:
        return False


class LibsndfileSource:
    """What libsndfile decodes of one part of a file."""

    def __init__(self, file: BinaryIO, link: Link) -> None:
        self._link = link
        self._view = View(file, link)
        try:
            self._file = _Sequential(self._view)
        except soundfile.LibsndfileError:
            if self._view.failure:
                raise self._view.failure from None
            raise
        self.sample_rate, self.channels = self._file.samplerate, self._file.channels
        self._end = link.frames
        if self._end is None and self._file.frames < _UNKNOWN:
            self._end = self._file.frames
        self.num_samples = max(0, (self._end or link.stated or 0) - link.skip - link.padding)
        self.truncated, self.missing = link.truncated, link.missing
        self._done = 0

    def read(self, size: int) -> Frames:
        link = self._link
        while True:
            ends = [end for end in (self._end, link.stated) if end and end > self._done]
            samples = self._decode(min([size, *(end - self._done for end in ends)]))
            if not len(samples):
                self._check_end()
                return samples
            first, self._done = self._done, self._done + len(samples)
            until = len(samples) if self._end is None else self._end - link.padding - first
            samples = samples[max(0, link.skip - first) : max(0, until)]
            if len(samples):
                return samples

    def _decode(self, size: int) -> Frames:
        """The next samples. Whatever follows those that the header counts need not be audio."""
        counted = self._end or self._link.stated
        try:
            samples: Frames = self._file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            if self._view.failure is None and counted and self._done >= counted:
                return np.zeros((0, self.channels), np.float32)
            raise self._view.failure or DamagedError(_reason(error)) from None
        if self._view.failure:
            raise self._view.failure
        return samples

    def _check_end(self) -> None:
        if self._link.stated and self._done < self._link.stated:
            raise DamagedError("the file ends early")
        if self._end is not None and self._done < self._end:
            self.truncated = True
            self.missing = self.missing or self._end - self._done

    def close(self) -> None:
        self._file.close()


class JoinedSource:
    """The parts of a file one after the other."""

    def __init__(self, links: Sequence[Link], open_link: Callable[[Link], Source]) -> None:
        self._links, self._open_link = list(links), open_link
        self._next = 0
        self._ended: Source | None = None
        self._source = self._open()
        self.sample_rate, self.channels = self._source.sample_rate, self._source.channels
        self.num_samples = self._source.num_samples + sum(map(self._length, self._links[1:]))
        self.truncated, self.missing = False, 0

    def _length(self, link: Link) -> int:
        if link.frames is not None or link.stated:
            return (link.frames or link.stated or 0) - link.skip - link.padding
        try:
            source = self._open_link(link)
        except (soundfile.LibsndfileError, CodecError):
            return 0
        source.close()
        return source.num_samples

    def _open(self) -> Source:
        self._next += 1
        return self._open_link(self._links[self._next - 1])

    def read(self, size: int) -> Frames:
        while True:
            samples = self._source.read(size)
            if len(samples):
                return samples
            if self._source.truncated and self._source is not self._ended:
                self._ended = self._source
                self.truncated = True
                self.missing += self._source.missing
            if self._next == len(self._links):
                return samples
            self._source.close()
            try:
                self._source = self._open()
            except (soundfile.LibsndfileError, CodecError):
                raise DamagedError("what follows cannot be read") from None
            rate, channels = self._source.sample_rate, self._source.channels
            if (rate, channels) != (self.sample_rate, self.channels):
                raise RestError(
                    f"another part follows with {channels} channels at {rate} Hz",
                    "encode its parts one by one, or convert it to WAV",
                )

    def close(self) -> None:
        self._source.close()


class _Recorded:
    """What was read of a stream that cannot seek, kept until it is known what the stream is."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.kept: Any = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        self.kept.write(data)
        return data


def open_source(
    stream: BinaryIO, name: Path, stack: ExitStack, raw: RawFormat | None = None
) -> Source:
    """The audio that a stream brings from where it stands; ``raw`` if it is samples alone.

    Args:
        stack: closes what was opened.

    Raises:
        CodecError: empty, or nothing that can be read.
    """
    if raw is not None:
        return RawSource(stream, raw)
    if not stream.seekable():
        recorded = _Recorded(stream)
        stack.enter_context(recorded.kept)
        head = recorded.read(12)
        if is_wav(head):
            header = _wav_header(recorded.read, head, name)
            if header.pcm() is not None:
                recorded.kept.close()
                return WavSource(stream, header)
        try:
            shutil.copyfileobj(stream, recorded.kept)
        except OSError as error:
            raise CodecError(
                f"{name}: needs a temporary file, which cannot be written "
                f"({error.strerror or error}); convert it to WAV, or set TMPDIR"
            ) from None
        recorded.kept.seek(0)
        stream = recorded.kept
    start = stream.tell()
    source = _wav(stream, stream.read(12), name, file_end(stream), start)
    source = source or _open_seekable(stream, start, name)
    stack.callback(source.close)
    return source


def _wav_header(read: Any, head: bytes, name: Path) -> WavHeader:
    try:
        return read_wav_header(read, head)
    except CodecError as error:
        raise CodecError(f"{name}: {error}") from None


def _wav(stream: BinaryIO, head: bytes, name: Path, end: int, start: int) -> Source | None:
    """A WAV of any kind, if it is one."""
    stream.seek(start + len(head))
    if not is_wav(head):
        return None
    header = _wav_header(stream.read, head, name)
    place = stream.tell()
    if header.pcm() is not None:
        return WavSource(stream, header, end - place)
    if header.byte_order == ">":
        return None
    # libsndfile decodes what is compressed, from a header that says the true size.
    size = min(header.size, end - place) if header.exact else end - place
    missing = header.size - size if header.exact else 0
    link = Link([(place, place + size)], header.canonical(size), truncated=missing > 0)
    if missing and header.bytes_per_second:
        link.missing = missing * header.sample_rate // header.bytes_per_second
    try:
        return LibsndfileSource(stream, link)
    except soundfile.LibsndfileError:
        return None


def _open_seekable(stream: BinaryIO, start: int, name: Path) -> Source:
    end = file_end(stream)
    if end <= start:
        hint = "" if start == 0 else "; the stream stands at its end, seek(0) rewinds it"
        raise CodecError(f"{name}: is empty (0 bytes), not an audio file{hint}")
    body = after_id3(stream, start)
    stream.seek(body)
    head = stream.read(64)

    def decoded(link: Link) -> Source:
        return LibsndfileSource(stream, link)

    try:
        if head[:4] == b"fLaC":
            return JoinedSource(flac_links(stream, body), decoded)
        if head[:4] == b"OggS":
            return JoinedSource(ogg_links(stream, body), decoded)
        if (body > start or head[:1] == b"\xff") and (links := mp3_links(stream, body)):
            return JoinedSource(links, decoded)
        return JoinedSource(other_links(stream, start, head), decoded)
    except (soundfile.LibsndfileError, TypeError, ValueError, IndexError):
        if not is_media(head):
            raise CodecError(
                f"{name}: not an audio file that can be read; {_remedy(name)}"
            ) from None
    links = other_links(stream, body, head)
    return JoinedSource(links, lambda link: MediaSource(stream, link, name))


def _remedy(name: Path) -> str:
    raw = ", or name --raw RATE if it is samples alone" if str(name) == "stdin" else ""
    return f"convert it to WAV or FLAC{raw}"


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")
