"""WAV, read forwards only, so that a file and a pipe give the same samples.

PCM and float samples are read here, compressed ones by libsndfile.
"""

from __future__ import annotations

from typing import BinaryIO

from audiocodec.audio.libsndfile import LibsndfileSource
from audiocodec.audio.parts import Part
from audiocodec.audio.pcm import RawSource
from audiocodec.audio.raw import RawFormat
from audiocodec.audio.source import (
    AudioFormat,
    ContinuationError,
    DamagedError,
    Source,
    UnsupportedError,
)
from audiocodec.audio.streams import AudioInput
from audiocodec.audio.wav_header import (
    MAGICS,
    SKIP_BYTES,
    WavHeader,
    is_wav,
    read_chunk_header,
    read_wav_header,
    skip,
)
from audiocodec.errors import CodecError


def matches(file: AudioInput) -> bool:
    return is_wav(file.head)


def open_wav(file: AudioInput) -> Source:
    """The source of a WAV.

    Raises:
        CodecError: its header is damaged or cut short.
        UnsupportedError: compressed in a way that libsndfile cannot read.
    """
    try:
        header = read_wav_header(file.read, file.head)
    except DamagedError as error:
        raise CodecError(f"{file.name}: {error}") from None
    raw = header.raw_format()
    if raw is not None:
        remaining = file.remaining_bytes()
        return WavSource(file.forward(), header, raw, remaining)
    if header.byte_order == ">":
        raise UnsupportedError
    return _open_compressed(file, header)


WAV = AudioFormat((".wav", ".w64"), matches, open_wav)


def _open_compressed(file: AudioInput, header: WavHeader) -> Source:
    """libsndfile decodes the samples. It is given a header with their true size."""
    stream = file.seekable_file()
    remaining = file.remaining_bytes()
    assert remaining is not None
    size = min(header.size, remaining) if header.exact else remaining
    missing = header.size - size if header.exact else 0
    start = stream.tell()
    part = Part([(start, start + size)], header.canonical(size), truncated=missing > 0)
    if missing and header.bytes_per_second:
        part.missing_samples = missing * header.sample_rate // header.bytes_per_second
    return LibsndfileSource(stream, part)


class WavSource(RawSource):
    """The samples of a WAV, and of WAVs of the same rate and channels that follow it.

    Args:
        stream: at the first sample.
        header, raw: the WAV's header, and the format of its samples.
        remaining: bytes from the first sample to the end of the stream; ``None`` if unknown.
    """

    def __init__(
        self, stream: BinaryIO, header: WavHeader, raw: RawFormat, remaining: int | None = None
    ) -> None:
        if header.exact and remaining is not None:
            remaining = min(remaining, header.size)
        super().__init__(stream, raw, num_samples=(remaining or 0) // raw.frame_bytes)
        self._stream = stream
        self._peeked = b""
        self._start_wav(header, raw)

    def _start_wav(self, header: WavHeader, raw: RawFormat) -> None:
        self._header, self.raw, self._incomplete = header, raw, b""
        self.big_endian = header.byte_order == ">"
        # Bytes of samples that the header still counts; `None` if they last until the end.
        self._left: int | None = header.size
        if header.wide and not header.exact:
            self._left = None

    def _next_bytes(self, size: int) -> bytes:
        while self._left == 0:
            if not self._continues():
                return b""
        if self._left is not None:
            size = min(size, self._left)
        if self._peeked:
            data, self._peeked = self._peeked[:size], self._peeked[size:]
        else:
            data = self._read1(size)
        if self._left is not None:
            self._left -= len(data)
            if not data:
                self.truncated = self._header.exact
                self.missing_samples = self._left // self.raw.frame_bytes if self.truncated else 0
        return data

    def _continues(self) -> bool:
        """Whether more samples follow those that the header counted."""
        header = self._header
        start = self._read_full(header.chunk_header_bytes)
        if not header.exact and not _is_known_chunk(start):
            self._peeked, self._left = start, None
            return bool(start)
        padding = header.padding(header.size)
        if padding and not _is_known_chunk(start):
            start = start[padding:] + self._read_full(padding)
        while len(start) >= 8:
            if start[:4] in MAGICS:
                return self._start_next_wav(start)
            if not _is_chunk_name(start[:4]):
                return self._check_rest(start)
            self._peeked = start
            _, size = read_chunk_header(self._read_full, header.byte_order, header.wide)
            skip(self._read_full, size + header.padding(size))
            start = self._read_full(header.chunk_header_bytes)
        return False

    def _start_next_wav(self, start: bytes) -> bool:
        self._peeked = start
        head = self._read_full(12)
        if not is_wav(head):
            return self._check_rest(head)
        try:
            header = read_wav_header(self._read_full, head)
        except DamagedError as error:
            raise ContinuationError(f"another WAV follows, and {error}", "cut it off") from None
        raw = header.raw_format()
        if raw is None or (raw.sample_rate, raw.channels) != (self.sample_rate, self.channels):
            raise ContinuationError(
                f"another WAV follows with {header.channels} channels at {header.sample_rate} Hz",
                "encode its parts one by one",
            )
        self._start_wav(header, raw)
        return True

    def _check_rest(self, start: bytes) -> bool:
        """Skip the rest of the input, which is not a chunk, unless it may be samples.

        Raises:
            ContinuationError: a second or more of it that is not zero.
        """
        rest = len(start)
        silent = not start.strip(b"\0")
        while data := self._read_full(SKIP_BYTES):
            rest += len(data)
            silent = silent and not data.strip(b"\0")
        seconds = rest / self.raw.frame_bytes / self.sample_rate
        if seconds >= 1 and not silent:
            raise ContinuationError(
                f"the WAV's header counts no more samples, but {seconds:.1f} s follow",
                "repair it with `ffmpeg -ignore_length 1 -i IN -c copy OUT`",
            )
        return False

    def _read_full(self, size: int) -> bytes:
        """``size`` bytes, fewer only at the end."""
        data, self._peeked = self._peeked[:size], self._peeked[size:]
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        return data


_CHUNKS = (
    b"LIST list fact FACT PEAK bext iXML axml chna cue  plst smpl inst acid cart id3  ID3  _PMX "
    b"JUNK junk FLLR PAD  pad  afsp DISP labl note ltxt minf elm1 regn umid SAUR levl mext strc "
    b"data RIFF RIFX RF64 BW64 riff"
)
_KNOWN_CHUNKS = {_CHUNKS[at : at + 4] for at in range(0, len(_CHUNKS), 5)}


def _is_known_chunk(start: bytes) -> bool:
    """Whether samples of unknown length end at ``start``: at a known chunk, or the input's end."""
    return start[:4] in _KNOWN_CHUNKS


def _is_chunk_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)
