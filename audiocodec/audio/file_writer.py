"""Writing 16-bit WAV and FLAC files."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt
import soundfile

from audiocodec.audio.writer import Writer, write_all
from audiocodec.errors import CodecError
from audiocodec.paths import replacing, stream_name, writing

WRITE_FORMATS = {".wav": "WAV", ".flac": "FLAC"}
"""Suffix -> libsndfile's name of the format."""
WAV_LIMIT = 2**32 - 2**16
"""Bytes of samples that a WAV can hold; its sizes are 32-bit numbers."""
FLAC_CHANNELS = 8
"""The most that FLAC can hold."""


class AudioWriter(Writer):
    """Writes a 16-bit audio file, which appears complete at the end or not at all.

    ``with AudioWriter(path, 16000, channels=2) as writer: writer.write(block)``

    Args:
        target: a path; or a binary stream, which gets the file at the end and stays open.
        sample_rate: Hz.
        num_samples: samples per channel, if known: then a WAV beyond 4 GiB becomes RF64, WAV's
            own large form.
        format: ``"WAV"`` or ``"FLAC"``. By default a path's suffix decides; a stream gets a WAV.

    Raises:
        CodecError: another format, not writable, disk full, NaN samples.
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        sample_rate: int,
        channels: int,
        num_samples: int | None = None,
        format: str | None = None,
    ) -> None:
        if isinstance(target, (str, Path)):
            super().__init__(Path(target), sample_rate, channels)
            self._target = self._file_target()
            self._format = (format or _format_of(self.path)).upper()
        else:
            super().__init__(stream_name(target, "stdout"), sample_rate, channels)
            self._target = self._stream_target(target)
            self._format = (format or "WAV").upper()
        if self._format not in WRITE_FORMATS.values():
            formats = " or ".join(WRITE_FORMATS.values())
            raise CodecError(f"{self.path}: cannot write `{format}` audio; the format is {formats}")
        if self._format == "WAV" and (num_samples or 0) * channels * 2 > WAV_LIMIT:
            self._format = "RF64"

    def __enter__(self) -> Self:
        self._stack.enter_context(self._target)
        return self

    @contextmanager
    def _file_target(self) -> Iterator[None]:
        with replacing(self.path) as temporary:
            name = _c_name(temporary)
            with self._open_file(name):
                yield
            if soundfile.info(name).frames != self.samples_written:
                raise CodecError(f"{self.path}: not written whole; is the disk full?")

    @contextmanager
    def _stream_target(self, stream: BinaryIO) -> Iterator[None]:
        """libsndfile seeks back, which a stream may not allow. So the file is made in memory."""
        memory = io.BytesIO()
        with self._open_file(memory):
            yield
        with writing(self.path):
            write_all(stream, memory.getvalue())

    @contextmanager
    def _open_file(self, target: str | bytes | io.BytesIO) -> Iterator[None]:
        remedy = ""
        if self._format == "FLAC" and self.channels > FLAC_CHANNELS:
            remedy = f"; FLAC holds {FLAC_CHANNELS} channels at most, write a .wav"
        shape = f"{self.channels} channels at {self.sample_rate} Hz"
        with self._write_errors(f"as {self._format} with {shape}", remedy):
            self._file = soundfile.SoundFile(
                target, "w", self.sample_rate, self.channels, "PCM_16", format=self._format
            )
        try:
            yield
        finally:
            with self._write_errors("to its end; is the disk full?"):
                self._file.close()
        if self._format == "FLAC" and not self.samples_written:
            raise CodecError(f"{self.path}: FLAC cannot hold 0 samples; write a .wav")

    def _write(self, samples: npt.NDArray[np.int16]) -> None:
        if self._format == "WAV" and self.samples_written * self.channels * 2 > WAV_LIMIT:
            raise CodecError(f"{self.path}: longer than the 4 GiB of a WAV; write a .flac")
        with self._write_errors("to its end; is the disk full?"):
            self._file.write(samples)

    @contextmanager
    def _write_errors(self, what: str, remedy: str = "") -> Iterator[None]:
        try:
            yield
        except (soundfile.LibsndfileError, OSError, AssertionError, OverflowError) as error:
            # soundfile asserts that all samples were written; on a full disk they were not. Its
            # own messages name the temporary file, those of libsndfile do not.
            reason = getattr(error, "error_string", None) or getattr(error, "strerror", None)
            if reason is None:
                reason = str(error)
            reason = f" ({reason.strip().rstrip('.')})" if reason.strip() else ""
            raise CodecError(f"{self.path}: cannot be written {what}{reason}{remedy}") from None


def _format_of(path: Path) -> str:
    """The format that a path's suffix stands for. CodecError for a folder or another suffix."""
    if path.is_dir():
        raise CodecError(f"{path}: is a folder; name a file in it")
    suffix = path.suffix.lower()
    if suffix not in WRITE_FORMATS:
        names = " or ".join(WRITE_FORMATS)
        raise CodecError(f"{path}: cannot write `{suffix}` audio; name it {names}")
    return WRITE_FORMATS[suffix]


def _c_name(path: Path) -> str | bytes:
    """A path for libsndfile: bytes, because a name need not be UTF-8; on Windows a string."""
    return str(path) if os.name == "nt" else os.fsencode(path)
