"""Writing 16-bit WAV or raw samples into a pipe."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from audiocodec.audio.writer import Writer, write_all
from audiocodec.paths import stream_name, writing

_UNKNOWN_SIZE = 0xFFFFFFFF


class PipeWriter(Writer):
    """Writes 16-bit audio into an unbuffered binary stream as it is ready. The stream stays open.

    ``with PipeWriter(stream, 16000, channels=2) as writer: writer.write(block)``

    A pipe cannot seek, so a WAV's header comes first. Without ``num_samples`` its sizes are
    0xFFFFFFFF, as ffmpeg writes them; in memory (``io.BytesIO``) they are corrected at the end.

    Args:
        sample_rate: Hz.
        num_samples: samples per channel, if they are known from the start.
        raw: write the samples without a header.

    Raises:
        CodecError: NaN samples, disk full.
        BrokenPipeError: nothing reads from the pipe any more.
    """

    def __init__(
        self,
        stream: BinaryIO,
        sample_rate: int,
        channels: int,
        num_samples: int | None = None,
        raw: bool = False,
    ) -> None:
        super().__init__(stream_name(stream, "stdout"), sample_rate, channels)
        self._stream = stream
        if not raw:
            if num_samples is None and isinstance(stream, io.BytesIO):
                self._stack.callback(self._correct_header, stream.tell())
            self._put(_wav_header(sample_rate, channels, num_samples))

    def _correct_header(self, position: int) -> None:
        end = self._stream.tell()
        self._stream.seek(position)
        self._put(_wav_header(self.sample_rate, self.channels, self.samples_written))
        self._stream.seek(end)

    def _write(self, samples: npt.NDArray[np.int16]) -> None:
        self._put(samples.astype("<i2").tobytes())

    def _put(self, data: bytes) -> None:
        with writing(self.path):
            write_all(self._stream, data)


def _wav_header(sample_rate: int, channels: int, num_samples: int | None) -> bytes:
    """The 44 bytes before 16-bit samples."""
    frame = 2 * channels
    size = _UNKNOWN_SIZE if num_samples is None else num_samples * frame
    riff = size + 36
    if riff >= _UNKNOWN_SIZE:
        size = riff = _UNKNOWN_SIZE
    rates = sample_rate, min(sample_rate * frame, _UNKNOWN_SIZE), frame, 16
    fields = struct.pack("<HHIIHH", 1, channels, *rates)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16)
        + fields
        + struct.pack("<4sI", b"data", size)
    )
