"""Uncompressed samples: bytes to float and back, and the source that reads a raw stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from audiocodec.audio.raw import SAMPLE_FORMATS, RawFormat
from audiocodec.audio.source import Samples, Source


def to_float(data: bytes, sample_format: str, big_endian: bool = False) -> Samples:
    """Bytes of a format of :data:`SAMPLE_FORMATS` -> float32 ``[n]``; integers become [-1, 1)."""
    kind = SAMPLE_FORMATS[sample_format]
    size = kind.num_bytes
    if big_endian and size > 1:
        data = np.frombuffer(data, np.uint8).reshape(-1, size)[:, ::-1].tobytes()
    if kind.is_float:
        return np.frombuffer(data, f"<f{size}").astype(np.float32, copy=False)
    if size == 1:
        return _scaled(np.frombuffer(data, np.uint8).astype(np.int16) - 128, 8)
    if size == 3:
        padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return _scaled(padded.view("<i4")[:, 0], 32)
    return _scaled(np.frombuffer(data, f"<i{size}"), 8 * size)


def _scaled(integers: npt.NDArray[np.signedinteger], bits: int) -> Samples:
    return integers.astype(np.float32) * np.float32(2.0 ** (1 - bits))


def to_pcm_16(audio: Samples) -> npt.NDArray[np.int16]:
    """Samples ``[C, n]`` in [-1, 1] as 16-bit integers ``[n, C]``; what lies beyond is clipped.

    A 16-bit file that is read (1/32768 per step) and written again does not change.
    """
    steps = np.clip(np.rint(audio * 32768.0), -32768, 32767).astype(np.int16)
    return np.ascontiguousarray(steps.T)


class RawSource(Source):
    """Samples without a header, until the stream ends."""

    def __init__(self, stream: BinaryIO, raw: RawFormat, num_samples: int = 0) -> None:
        super().__init__(raw.sample_rate, raw.channels, num_samples)
        self.raw = raw
        self.big_endian = False
        self._incomplete = b""  # the first bytes of a frame
        # `read1` of a buffered stream reads a pipe once and returns what has arrived.
        self._read1: Callable[[int], bytes] = getattr(stream, "read1", stream.read)

    def read(self, size: int) -> Samples:
        """At most ``size`` samples ``[n, C]``, as soon as one has arrived; none at the end."""
        while data := self._next_bytes(size * self.raw.frame_bytes - len(self._incomplete)):
            frame = self.raw.frame_bytes  # another WAV may have started
            data = self._incomplete + data if self._incomplete else data
            whole = len(data) - len(data) % frame
            data, self._incomplete = data[:whole], data[whole:]
            if data:
                samples = to_float(data, self.raw.sample_format, self.big_endian)
                return samples.reshape(-1, self.channels)
        return np.zeros((0, self.channels), np.float32)

    def _next_bytes(self, size: int) -> bytes:
        """At most ``size`` bytes of samples; none at the end."""
        return self._read1(size)
