"""The interface of everything that audio is written to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from audiocodec.audio.pcm import to_pcm_16
from audiocodec.audio.source import Samples
from audiocodec.errors import CodecError


class Writer(ABC):
    """Audio that is written chunk by chunk, as 16-bit samples, in a ``with`` statement.

    ``path`` is the target's name, ``samples_written`` counts samples per channel.
    """

    def __init__(self, path: Path, sample_rate: int, channels: int) -> None:
        self.path, self.sample_rate, self.channels = path, sample_rate, channels
        self.samples_written = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> bool | None:
        return self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def write(self, audio: Samples) -> None:
        """Append float ``[C, n]`` in [-1, 1]; what lies beyond is clipped.

        Raises:
            CodecError: NaN or infinite samples, or the target cannot be written.
        """
        if not np.isfinite(audio).all():
            raise CodecError(f"{self.path}: a NaN or infinite sample was to be written")
        self.samples_written += audio.shape[1]
        self._write(to_pcm_16(audio))

    @abstractmethod
    def _write(self, samples: npt.NDArray[np.int16]) -> None:
        """Append ``samples [n, C]``, which are counted already."""


def write_all(stream: BinaryIO, data: bytes) -> None:
    """An unbuffered stream may take only some of the bytes at a time."""
    while data:
        data = data[stream.write(data) :]
