"""The interface of everything that audio is read from: one class to implement for a new format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.audio.streams import AudioInput

Samples = npt.NDArray[np.float32]
"""float32 samples, full scale [-1, 1]: ``[C, n]``, or ``[n, C]`` where a docstring says so."""


class Source(ABC):
    """Audio that is read once, from start to end.

    Args:
        sample_rate: Hz.
        channels: 1 or more.
        num_samples: samples per channel according to the header, which may be an estimate; 0 if
            it is unknown.

    After the last samples, ``truncated`` is true if the input was cut short, and then
    ``missing_samples`` is how many more samples (per channel) the header counts, 0 if unknown.
    """

    def __init__(self, sample_rate: int, channels: int, num_samples: int = 0) -> None:
        self.sample_rate, self.channels, self.num_samples = sample_rate, channels, num_samples
        self.truncated = False
        self.missing_samples = 0

    @abstractmethod
    def read(self, size: int) -> Samples:
        """The next samples ``[n, C]`` with ``1 <= n <= size``, or ``n = 0`` at the end.

        Raises:
            DamagedError: the input cannot be decoded from here on.
            ContinuationError: something else than audio of the same format follows.
        """

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Release what the source opened. The input stream stays open."""


@dataclass(frozen=True)
class AudioFormat:
    """One kind of audio file. Add it to :data:`audiocodec.audio.formats.FORMATS`.

    Args:
        suffixes: lower-case suffixes of its files, such as ``".flac"``.
        matches: whether an input may be of this format; ``input.head`` has its first bytes.
        open: makes the source, or raises :class:`UnsupportedError` if the input is of another
            format after all; then the next format that matches is tried.
    """

    suffixes: tuple[str, ...]
    matches: Callable[[AudioInput], bool]
    open: Callable[[AudioInput], Source]


class UnsupportedError(Exception):
    """A decoder cannot open an input."""


class DamagedError(Exception):
    """Audio cannot be decoded from here on; the message is the decoder's reason.

    A reader turns this, and :class:`ContinuationError`, into a :class:`CodecError` with file and
    place.
    """


class ContinuationError(Exception):
    """The input continues with something that does not belong to the same signal.

    Args:
        what: a clause that says what follows.
        remedy: what the user can do.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy
