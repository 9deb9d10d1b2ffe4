"""The contract of a source of training audio, and how a segment is drawn from pieces of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audiocodec.errors import CodecError
from audiocodec.training.data.files import DataConfig
from audiocodec.training.processes import Share

MAX_TRIES = 20
"""Random positions tried to find a segment that is not silent."""

MAX_SEGMENTS_CHECKED = 20_000
"""Segments, evenly spaced, whose level is measured before all audio is called silent."""


class SegmentSource(ABC):
    """Audio from which segments are drawn. ``length`` is that of a segment, in samples."""

    length: int

    @abstractmethod
    def draw(self, key: Sequence[int], count: int, share: Share, step: int) -> Tensor:
        """A share of ``count`` segments that are not silent, unless :data:`MAX_TRIES` were.

        Segment i of them depends on ``key``, i and ``step`` alone. So the shares of several
        processes together are what one process draws, and each reads only its own.

        Args:
            key: what the random numbers depend on.
            step: of the run; audio that is decoded while the run trains depends on it.

        Returns:
            16-bit numbers as float32, ``[n, T]``, on the device of the run.

        Raises:
            CodecError: the audio cannot be read.
        """

    def close(self) -> None:  # noqa: B027 - most sources have nothing to give up
        """Give up what is decoded ahead. The next :meth:`draw` begins it again."""


class Piece(Protocol):
    """16-bit samples, mono, of which slices can be had; on a disk perhaps."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[np.int16]: ...


class Pieces:
    """Pieces of audio from which segments of one length are taken. None lies in two pieces.

    Args:
        length: of a segment, in samples. A shorter piece is left out.

    Attributes:
        num_starts: positions at which a segment may begin, in all pieces together.
    """

    def __init__(self, length: int, pieces: Iterable[Piece] = ()) -> None:
        self.length = length
        self._pieces: list[Piece] = []
        self._firsts = self._starts = np.zeros(1, np.int64)
        """``[pieces + 1]``: samples, and positions, in the pieces before each."""
        for piece in pieces:
            self.add(piece)

    def add(self, piece: Piece) -> bool:
        """Take segments from ``piece`` too. Returns whether it is long enough."""
        if len(piece) < self.length:
            return False
        self._pieces.append(piece)
        self._firsts = np.append(self._firsts, self._firsts[-1] + len(piece))
        self._starts = np.append(self._starts, self._starts[-1] + len(piece) - self.length + 1)
        return True

    @property
    def num_samples(self) -> int:
        return int(self._firsts[-1])

    @property
    def num_starts(self) -> int:
        return int(self._starts[-1])

    def place(self, number: int) -> tuple[int, int]:
        """Position ``number``, from 0: the piece, and the first sample in it."""
        piece = int(np.searchsorted(self._starts, number, side="right")) - 1
        return piece, number - int(self._starts[piece])

    def first_sample(self, number: int) -> int:
        """The same, as a sample of all pieces joined."""
        piece, first = self.place(number)
        return int(self._firsts[piece]) + first

    def segment(self, number: int) -> NDArray[np.int16]:
        """The segment that begins at position ``number``."""
        piece, first = self.place(number)
        return self._pieces[piece][first : first + self.length]

    def draw(
        self, random: np.random.Generator, threshold_db: float
    ) -> tuple[int, NDArray[np.int16]]:
        """A random position, and the segment there: above ``threshold_db`` (dB of full scale),
        unless :data:`MAX_TRIES` of them were not."""
        threshold = 32768 * 10 ** (threshold_db / 20)
        for _ in range(MAX_TRIES):
            number = int(random.integers(self.num_starts))
            segment = self.segment(number)
            level = segment.astype(np.float32)
            if np.sqrt(np.mean(level * level)) > threshold:
                break
        return number, segment

    def check(self, config: DataConfig, sample_rate: int) -> None:
        """Raise :class:`CodecError` if there is no segment, or none above the threshold."""
        if not self.num_starts:
            raise CodecError(
                f"data.root: {self.num_samples / sample_rate:.2f} s of audio in all, less than one "
                f"segment of {config.segment_seconds:g} s"
            )
        check_audible(self.segment, self.num_starts, self.length, config)


def random_of(key: Sequence[int], item: int) -> np.random.Generator:
    """The random numbers of one item of a batch."""
    return np.random.default_rng((*key, item))


def level_db(samples: NDArray[np.integer] | NDArray[np.floating], full_scale: float) -> float:
    """Root mean square of samples in dB of full scale; minus infinity for silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return 10 * float(np.log10(power)) - 20 * float(np.log10(full_scale)) if power else -np.inf


def check_audible(
    segment: Callable[[int], NDArray[np.int16]], num_starts: int, length: int, config: DataConfig
) -> None:
    """Raise :class:`CodecError` if no segment is above ``silence_threshold_db``."""
    loudest = -np.inf
    count = min(MAX_SEGMENTS_CHECKED, -(-(num_starts + length - 1) // length))
    for number in np.linspace(0, num_starts - 1, count).astype(int):
        loudest = max(loudest, level_db(segment(number), 32768))
        if loudest > config.silence_threshold_db:
            return
    found = f"the loudest is at {loudest:.0f} dB" if np.isfinite(loudest) else "all are silent"
    raise CodecError(
        "data.silence_threshold_db: no segment of the audio in data.root is above "
        f"{config.silence_threshold_db:g} dB of full scale ({found}); use other recordings, or "
        "lower data.silence_threshold_db"
    )
