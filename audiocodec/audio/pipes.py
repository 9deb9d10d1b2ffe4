"""Audio written into a stream: a WAV or bare samples, as they are ready.

A pipe cannot seek. A WAV's header comes first and may not know how long the audio will be: then its
sizes are 0xFFFFFFFF, as ffmpeg writes them. Where the stream lies in memory (``io.BytesIO``), the
true sizes are put in at the end.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import numpy as np

from audiocodec.audio.files import Samples, pcm_16, stream_name
from audiocodec.errors import CodecError
from audiocodec.paths import writing

_UNKNOWN = 0xFFFFFFFF


class PipeWriter:
    """16-bit audio written into an unbuffered binary stream, which it leaves open.

    ``with PipeWriter(stream, 16000, channels=2) as writer: writer.write(block)``

    A WAV, with true sizes where ``num_samples`` (per channel) is known and fits, or, if ``raw``,
    the samples alone.

    Raises:
        CodecError: NaN samples, disk full.
        BrokenPipeError: nobody reads any more.
    """

    def __init__(
        self,
        stream: BinaryIO,
        sample_rate: int,
        channels: int,
        num_samples: int | None = None,
        raw: bool = False,
    ) -> None:
        self.path = stream_name(stream, "stdout")
        self._stream = stream
        self._shape = sample_rate, channels
        self._bytes = 0
        self._patch: int | None = None
        if not raw:
            if num_samples is None and isinstance(stream, io.BytesIO):
                self._patch = stream.tell()
            self._put(_wav_header(sample_rate, channels, num_samples))

    def __enter__(self) -> PipeWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        """The stream belongs to the caller."""
        if self._patch is not None:
            end = self._stream.tell()
            self._stream.seek(self._patch)
            _, channels = self._shape
            self._put(_wav_header(*self._shape, self._bytes // (2 * channels)))
            self._stream.seek(end)

    def write(self, audio: Samples) -> None:
        """Append float ``[C, n]`` in [-1, 1]; louder samples are clipped."""
        if not np.isfinite(audio).all():
            raise CodecError(f"{self.path}: a NaN or infinite sample was to be written")
        data = pcm_16(audio).astype("<i2").tobytes()
        self._bytes += len(data)
        self._put(data)

    def _put(self, data: bytes) -> None:
        with writing(self.path):
            while data:
                data = data[self._stream.write(data) :]


def _wav_header(sample_rate: int, channels: int, num_samples: int | None) -> bytes:
    """The 44 bytes before 16-bit samples."""
    frame = 2 * channels
    size = _UNKNOWN if num_samples is None else num_samples * frame
    riff = size + 36
    if riff >= _UNKNOWN:
        size = riff = _UNKNOWN
    rates = sample_rate, min(sample_rate * frame, _UNKNOWN), frame, 16
    fields = struct.pack("<HHIIHH", 1, channels, *rates)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16)
        + fields
        + struct.pack("<4sI", b"data", size)
    )
