"""WAV headers: RIFF, RIFX (big-endian), RF64 and BW64 (64-bit sizes) and Sony's W64.

A recorder that is stopped, or that writes into a pipe, leaves a data size of 0 or one close to the
maximum of 31, 32 or 64 bits. Such a size is a placeholder: the samples last until the input ends.
Any other size is exact, and an input that ends before it was cut short.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from audiocodec.audio.raw import SAMPLE_FORMATS, RawFormat
from audiocodec.audio.source import DamagedError

MAGICS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff")
SKIP_BYTES = 2**16
_W64_MAGIC = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb"
_W64_CHUNK_HEADER = 24
_EXTENSIBLE = 0xFFFE
_SLACK = 2**16
"""A placeholder size is within this many bytes of 2**31 or 2**32."""
_WIDE_LIMIT = 2**62

Read = Callable[[int], bytes]
"""Returns the next bytes, fewer than the given number only at the end."""


@dataclass(frozen=True)
class WavHeader:
    """What precedes the samples.

    Args:
        byte_order: ``"<"`` or ``">"``, as in :mod:`struct`.
        fmt, fact: the contents of those chunks.
        size: bytes of samples; a placeholder unless ``exact``.
        wide: W64, whose chunks have 64-bit sizes.
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

    def raw_format(self) -> RawFormat | None:
        """Format of the samples if they are PCM or float; ``None`` if they are compressed."""
        tag, channels, sample_rate, _, frame, bits = struct.unpack_from(
            self.byte_order + "HHIIHH", self.fmt
        )
        if tag == _EXTENSIBLE and len(self.fmt) >= 26:  # the subformat starts with the tag
            (tag,) = struct.unpack_from(self.byte_order + "H", self.fmt, 24)
        if not sample_rate or not channels:
            return None
        for name, kind in SAMPLE_FORMATS.items():
            size = kind.num_bytes
            if (tag, bits, frame) == (kind.wav_tag, 8 * size, size * channels):
                return RawFormat(sample_rate, channels, name)
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

    def padding(self, size: int) -> int:
        """Bytes of padding after a chunk of ``size`` bytes."""
        return -size % 8 if self.wide else size % 2

    @property
    def chunk_header_bytes(self) -> int:
        return _W64_CHUNK_HEADER if self.wide else 8


def is_wav(head: bytes) -> bool:
    """Whether the first 12 bytes are those of a WAV of any kind."""
    return head[:12] == _W64_MAGIC or (head[:4] in MAGICS[:4] and head[8:12] == b"WAVE")


def read_wav_header(read: Read, head: bytes) -> WavHeader:
    """The header that starts with the 12 bytes ``head``; ``read`` then returns the samples.

    Raises:
        DamagedError: damaged or cut short.
    """
    wide = head[:4] == b"riff"
    if wide:
        read(28)
    order = ">" if head[:4] == b"RIFX" else "<"
    large = None  # size of the samples in RF64's own chunk
    fmt = fact = b""
    while True:
        name, size = read_chunk_header(read, order, wide)
        if name == b"data" and fmt:
            if large is not None and size == 2**32 - 1:
                return WavHeader(order, fmt, fact, large, 0 < large < _WIDE_LIMIT, wide)
            return WavHeader(order, fmt, fact, size, _is_exact(size, wide), wide)
        padding = -size % 8 if wide else size % 2
        if name in (b"fmt ", b"fact", b"ds64") and size < 2**16:
            fields = read(size)
            skip(read, padding)
            if len(fields) < size:
                break
            if name == b"fmt " and size >= 16:
                fmt = fields
            elif name == b"fact":
                fact = fields
            elif name == b"ds64" and size >= 16:
                (large,) = struct.unpack_from(order + "Q", fields, 8)
        elif not name or skip(read, size + padding):
            break
    raise DamagedError("its WAV header is damaged or cut short")


def _is_exact(size: int, wide: bool) -> bool:
    if wide:
        return 0 < size < _WIDE_LIMIT
    is_placeholder = abs(size - 2**31) <= _SLACK or size >= 2**32 - _SLACK
    return size > 0 and not is_placeholder


def read_chunk_header(read: Read, order: str, wide: bool) -> tuple[bytes, int]:
    """The next chunk's name and size; an empty name at the end."""
    size = _W64_CHUNK_HEADER if wide else 8
    head = read(size)
    if len(head) < size:
        return b"", 0
    if wide:
        return head[:4], max(0, int.from_bytes(head[16:24], "little") - _W64_CHUNK_HEADER)
    name, size = struct.unpack(order + "4sI", head)
    return name, size


def skip(read: Read, size: int) -> int:
    """Read past ``size`` bytes. Returns how many of them were missing at the end."""
    while size and (skipped := read(min(size, SKIP_BYTES))):
        size -= len(skipped)
    return size
