"""WAV, read forwards only, so that a file and a pipe give the same samples; and samples alone.

RIFF, RIFX (big-endian), RF64 and BW64 (64-bit sizes) and Sony's W64. A recorder that is stopped, or
that writes into a pipe, leaves a data size of 0 or one close to the most that 31, 32 or 64 bits
hold. Such a size is not believed: the samples then last until the input ends. Any other size is
exact, and an input that ends before it was cut short.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from audiocodec.errors import CodecError, RestError

_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_TAIL = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff")
_SLACK = 2**16  # a live writer's size is this close to 2**31 or 2**32
_SKIP_BYTES = 2**16


def _from_24_bits(data: bytes) -> npt.NDArray[Any]:
    padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
    padded[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
    return _scaled(padded.view("<i4")[:, 0], 2.0**-31)


def _scaled(steps: npt.NDArray[Any], scale: float) -> npt.NDArray[Any]:
    return steps.astype(np.float32) * np.float32(scale)


# name -> bytes a sample, what makes them numbers in [-1, 1], WAV's format tag
SAMPLE_FORMATS: dict[str, tuple[int, Callable[[bytes], npt.NDArray[Any]], int]] = {
    "u8": (1, lambda data: _scaled(np.frombuffer(data, np.uint8).astype(np.int16) - 128, 2**-7), 1),
    "s16le": (2, lambda data: _scaled(np.frombuffer(data, "<i2"), 2.0**-15), 1),
    "s24le": (3, _from_24_bits, 1),
    "s32le": (4, lambda data: _scaled(np.frombuffer(data, "<i4"), 2.0**-31), 1),
    "f32le": (4, lambda data: np.frombuffer(data, "<f4"), 3),
    "f64le": (8, lambda data: np.frombuffer(data, "<f8"), 3),
}


@dataclass(frozen=True)
class RawFormat:
    """Samples without a header: Hz, channels side by side, a key of :data:`SAMPLE_FORMATS`.

    Raises:
        CodecError: a rate or a number of channels below 1, or an unknown format.
    """

    sample_rate: int
    channels: int = 1
    sample_format: str = "s16le"

    def __post_init__(self) -> None:
        if self.sample_rate < 1 or self.channels < 1:
            raise CodecError(
                f"raw samples at {self.sample_rate} Hz in {self.channels} channels: both must be "
                "1 or more"
            )
        if self.sample_format not in SAMPLE_FORMATS:
            names = ", ".join(SAMPLE_FORMATS)
            raise CodecError(f"raw samples as `{self.sample_format}`: it is one of {names}")

    @property
    def frame_bytes(self) -> int:
        """Of one sample of every channel."""
        return SAMPLE_FORMATS[self.sample_format][0] * self.channels


@dataclass(frozen=True)
class WavHeader:
    """What precedes the samples.

    ``fmt`` and ``fact`` are those chunks' bytes. If ``exact``, ``size`` bytes of samples follow;
    otherwise it is a live writer's placeholder.
    """

    byte_order: str
    fmt: bytes
    fact: bytes
    size: int
    exact: bool
    wide: bool

    @property
    def sample_rate(self) -> int:
        return int(struct.unpack_from(self.byte_order + "I", self.fmt, 4)[0])

    @property
    def channels(self) -> int:
        return int(struct.unpack_from(self.byte_order + "H", self.fmt, 2)[0])

    @property
    def bytes_per_second(self) -> int:
        return int(struct.unpack_from(self.byte_order + "I", self.fmt, 8)[0])

    def pcm(self) -> RawFormat | None:
        """The samples, where they are PCM or float; of compressed ones nothing."""
        tag, channels, sample_rate, _, frame, bits = struct.unpack_from(
            self.byte_order + "HHIIHH", self.fmt
        )
        if tag == 0xFFFE and len(self.fmt) >= 26:  # extensible: the tag opens the subformat
            (tag,) = struct.unpack_from(self.byte_order + "H", self.fmt, 24)
        for name, (size, _, its_tag) in SAMPLE_FORMATS.items():
            if (tag, bits, frame) == (its_tag, 8 * size, size * channels) and sample_rate:
                return RawFormat(sample_rate, channels, name) if channels else None
        return None

    def canonical(self, size: int) -> bytes:
        """A little-endian RIFF header for ``size`` bytes of samples of the same format."""
        chunks = b"".join(
            struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2)
            for name, data in ((b"fmt ", self.fmt), (b"fact", self.fact))
            if data
        )
        start = struct.pack("<4sI4s", b"RIFF", 4 + len(chunks) + 8 + size, b"WAVE")
        return start + chunks + struct.pack("<4sI", b"data", size)


def is_wav(head: bytes) -> bool:
    """Whether the first 12 bytes open a WAV of any kind."""
    return head[:12] == _W64_RIFF[:12] or (head[:4] in _MAGICS[:4] and head[8:12] == b"WAVE")


def read_wav_header(read: Callable[[int], bytes], head: bytes) -> WavHeader:
    """The header that opens with the 12 bytes ``head``; ``read`` then stands at the samples.

    Raises:
        CodecError: damaged or cut short. The message does not name the file.
    """
    wide = head[:4] == b"riff"
    if wide:
        head += read(28)
    order = ">" if head[:4] == b"RIFX" else "<"
    large = None
    fmt = fact = b""
    while True:
        name, size = _chunk(read, order, wide)
        if name == b"data" and fmt:
            if large is not None and size == 2**32 - 1:
                return WavHeader(order, fmt, fact, large, 0 < large < 2**62, wide)
            return WavHeader(order, fmt, fact, size, _exact(size, wide), wide)
        padding = -size % 8 if wide else size % 2
        if name in (b"fmt ", b"fact", b"ds64") and size < 2**16:
            fields = read(size)
            _skip(read, padding)
            if len(fields) < size:
                break
            if name == b"fmt " and size >= 16:
                fmt = fields
            elif name == b"fact":
                fact = fields
            elif name == b"ds64" and size >= 16:
                (large,) = struct.unpack_from(order + "Q", fields, 8)
        elif not name or _skip(read, size + padding):
            break
    raise CodecError("its WAV header is damaged or cut short")


def _exact(size: int, wide: bool) -> bool:
    if wide:
        return 0 < size < 2**62
    near = abs(size - 2**31) <= _SLACK or size >= 2**32 - _SLACK
    return size > 0 and not near


def _chunk(read: Callable[[int], bytes], order: str, wide: bool) -> tuple[bytes, int]:
    """The next chunk's name and size; no name at the end."""
    head = read(24 if wide else 8)
    if len(head) < (24 if wide else 8):
        return b"", 0
    if wide:
        return head[:4], max(0, int.from_bytes(head[16:24], "little") - 24)
    name, size = struct.unpack(order + "4sI", head)
    return name, size


def _skip(read: Callable[[int], bytes], size: int) -> int:
    """Read past ``size`` bytes. Returns how many of them were not there."""
    while size and (skipped := read(min(size, _SKIP_BYTES))):
        size -= len(skipped)
    return size


class RawSource:
    """Samples without a header, until the stream ends: ``[n, C]`` float32 pieces.

    ``truncated`` is said after the last piece, and then ``missing``, how many samples are missing
    (0 if nobody knows). See :mod:`audiocodec.audio.sources` for the other kinds of source.
    """

    def __init__(self, stream: BinaryIO, raw: RawFormat) -> None:
        self.sample_rate, self.channels = raw.sample_rate, raw.channels
        self.num_samples = 0
        self.truncated = False
        self.missing = 0
        self._raw = raw
        self._swapped = False
        self._size, self._numbers, _ = SAMPLE_FORMATS[raw.sample_format]
        self._waiting = b""
        self._stream = stream
        # `read1` of a buffered stream asks a pipe once and takes what it has.
        self._read1: Callable[[int], bytes] = getattr(stream, "read1", stream.read)

    def read(self, size: int) -> npt.NDArray[np.float32]:
        """At most ``size`` samples of each channel, as soon as there is one; none at the end."""
        frame = self._raw.frame_bytes
        while data := self._some(size * frame - len(self._waiting)):
            data = self._waiting + data if self._waiting else data
            whole = len(data) - len(data) % frame
            data, self._waiting = data[:whole], data[whole:]
            if data:
                if self._swapped:
                    steps = np.frombuffer(data, np.uint8).reshape(-1, self._size)
                    data = steps[:, ::-1].tobytes()
                samples = self._numbers(data).astype(np.float32, copy=False)
                return samples.reshape(-1, self.channels)
        return np.zeros((0, self.channels), np.float32)

    def _some(self, most: int) -> bytes:
        return self._read1(most)

    def close(self) -> None:
        """The stream belongs to the caller."""


class WavSource(RawSource):
    """The samples of a WAV, and of any WAVs of the same rate and channels that follow it.

    Args:
        stream: stands at the first sample.
        header: what was before it, of PCM or float samples.
        after: the bytes from there to the end, where they are known.
    """

    def __init__(self, stream: BinaryIO, header: WavHeader, after: int | None = None) -> None:
        raw = header.pcm()
        assert raw is not None
        super().__init__(stream, raw)
        self._peeked = b""
        self._begin(header, raw)
        if header.exact and after is not None:
            after = min(after, header.size)
        self.num_samples = (after or 0) // raw.frame_bytes

    def _begin(self, header: WavHeader, raw: RawFormat) -> None:
        self._header, self._raw, self._waiting = header, raw, b""
        self._size, self._numbers, _ = SAMPLE_FORMATS[raw.sample_format]
        self._swapped = header.byte_order == ">" and self._size > 1
        self._left: int | None = header.size
        if header.wide and not header.exact:
            self._left = None

    def _some(self, most: int) -> bytes:
        while self._left == 0:
            if not self._goes_on():
                return b""
        if self._left is not None:
            most = min(most, self._left)
        if self._peeked:
            data, self._peeked = self._peeked[:most], self._peeked[most:]
        else:
            data = self._read1(most)
        if self._left is not None:
            self._left -= len(data)
            if not data:
                self.truncated = self._header.exact
                self.missing = self._left // self._raw.frame_bytes if self.truncated else 0
        return data

    def _goes_on(self) -> bool:
        """Whether samples follow those that the header counted."""
        header = self._header
        start = self._full(24 if header.wide else 8)
        if not header.exact and not _is_chunk(start):
            self._peeked, self._left = start, None
            return bool(start)
        padding = -header.size % 8 if header.wide else header.size % 2
        if padding and not _is_chunk(start):
            start = start[padding:] + self._full(padding)
        while len(start) >= 8:
            if start[:4] in _MAGICS:
                return self._next_wav(start)
            if not _is_name(start[:4]):
                return self._refuse_rest(start)
            self._peeked = start
            _, size = _chunk(self._full, header.byte_order, header.wide)
            _skip(self._full, size + (-size % 8 if header.wide else size % 2))
            start = self._full(24 if header.wide else 8)
        return False

    def _next_wav(self, start: bytes) -> bool:
        self._peeked = start
        head = self._full(12)
        if not is_wav(head):
            return self._refuse_rest(head)
        try:
            header = read_wav_header(self._full, head)
        except CodecError as error:
            raise RestError(f"another WAV follows, and {error}", "cut it off") from None
        raw = header.pcm()
        if raw is None or (raw.sample_rate, raw.channels) != (self.sample_rate, self.channels):
            raise RestError(
                f"another WAV follows with {header.channels} channels at {header.sample_rate} Hz",
                "encode its parts one by one",
            )
        self._begin(header, raw)
        return True

    def _refuse_rest(self, start: bytes) -> bool:
        """What is no chunk is padding or garbage, unless it could be lost samples."""
        rest = len(start)
        silent = not start.strip(b"\0")
        while data := self._full(_SKIP_BYTES):
            rest += len(data)
            silent = silent and not data.strip(b"\0")
        seconds = rest / self._raw.frame_bytes / self.sample_rate
        if seconds >= 1 and not silent:
            raise RestError(
                f"the WAV's header counts no more samples, but {seconds:.1f} s follow",
                "repair it with `ffmpeg -ignore_length 1 -i IN -c copy OUT`",
            )
        return False

    def _full(self, size: int) -> bytes:
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
_CHUNKS_KNOWN = {_CHUNKS[at : at + 4] for at in range(0, len(_CHUNKS), 5)}


def _is_chunk(start: bytes) -> bool:
    """Whether samples that a placeholder counted end here: at a chunk that is known, or the end."""
    return start[:4] in _CHUNKS_KNOWN


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)
