"""Sources that libsndfile decodes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import BinaryIO

import numpy as np
import soundfile

from audiocodec.audio.parts import JoinedSource, Part, PartFile
from audiocodec.audio.source import DamagedError, Samples, Source, UnsupportedError
from audiocodec.audio.streams import AudioInput

_UNKNOWN = 2**40
"""libsndfile reports more samples than this if it does not know their number."""


def open_parts(file: AudioInput, parts: Sequence[Part]) -> Source:
    """The source of a file that consists of ``parts``.

    Raises:
        UnsupportedError: libsndfile cannot open the first part, or there is none.
    """
    return JoinedSource(parts, partial(LibsndfileSource, file.seekable_file()))


class _SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """After every read, soundfile seeks to the position where it already is. For MP3 and FLAC that
    costs time, and libmpg123 then prints errors about good files."""

    def seekable(self) -> bool:
        return False


class LibsndfileSource(Source):
    """One part of a file.

    Raises:
        UnsupportedError: libsndfile cannot open it.
    """

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._part = part
        self._view = PartFile(file, part)
        try:
            self._file = _SequentialFile(self._view)
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            if self._view.failure:
                raise self._view.failure from None
            raise UnsupportedError from error
        self._end = part.decoded_samples
        if self._end is None and self._file.frames < _UNKNOWN:
            self._end = self._file.frames
        counted = self._end or part.stated_samples or 0
        super().__init__(
            self._file.samplerate,
            self._file.channels,
            num_samples=max(0, counted - part.skip - part.padding),
        )
        self.truncated, self.missing_samples = part.truncated, part.missing_samples
        self._decoded = 0

    def read(self, size: int) -> Samples:
        part = self._part
        while True:
            ends = [end for end in (self._end, part.stated_samples) if end and end > self._decoded]
            samples = self._decode(min([size, *(end - self._decoded for end in ends)]))
            if not len(samples):
                self._check_end()
                return samples
            first, self._decoded = self._decoded, self._decoded + len(samples)
            end = len(samples) if self._end is None else self._end - part.padding - first
            samples = samples[max(0, part.skip - first) : max(0, end)]
            if len(samples):
                return samples

    def _decode(self, size: int) -> Samples:
        """The next samples. Errors after the last sample that the header counts are ignored: the
        rest of the file need not be audio."""
        counted = self._end or self._part.stated_samples
        try:
            samples: Samples = self._file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            if self._view.failure is None and counted and self._decoded >= counted:
                return np.zeros((0, self.channels), np.float32)
            raise self._view.failure or DamagedError(_reason(error)) from None
        if self._view.failure:
            raise self._view.failure
        return samples

    def _check_end(self) -> None:
        if self._part.stated_samples and self._decoded < self._part.stated_samples:
            raise DamagedError("the file ends early")
        if self._end is not None and self._decoded < self._end:
            self.truncated = True
            self.missing_samples = self.missing_samples or self._end - self._decoded

    def close(self) -> None:
        self._file.close()


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")
