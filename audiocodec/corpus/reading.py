"""The audio of an utterance.

A file of which a part was read stays open until its thread reads another one: parts in ascending
order are then decoded in one pass, and not each from the beginning of an hour. What is read does
not depend on it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from audiocodec.audio.resampling import Resampler
from audiocodec.audio.source import Samples
from audiocodec.corpus.audiofiles import open_audio
from audiocodec.corpus.sources.state import file_state
from audiocodec.corpus.utterance import Utterance
from audiocodec.errors import CodecError

SLACK_SECONDS = 0.1
"""A file may be this much shorter than a manifest says: durations are often rounded."""


def read_audio(utterance: Utterance, sample_rate: int) -> Samples:
    """The samples ``[T]`` of an utterance, ``T > 0``: the mean of its channels at ``sample_rate``
    (Hz).

    A part of a file is cut at the file's own rate before it is resampled.

    Raises:
        CodecError: the file cannot be read, has no samples, or ends before the utterance does.
    """
    return np.concatenate(list(audio_blocks(utterance, sample_rate)))


def audio_blocks(utterance: Utterance, sample_rate: int) -> Iterator[Samples]:
    """The same samples in blocks ``[n]`` of about a second, so that an utterance may last hours.

    Raises:
        CodecError: as :func:`read_audio`, at the block where it shows.
    """
    with audio_of(utterance) as file:
        yield from file.resampled(utterance, sample_rate)


def resized(blocks: Iterable[Samples], size: int) -> Iterator[Samples]:
    """Blocks ``[n]`` of any length -> the same samples in blocks of ``size``, the last one
    shorter."""
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= size:
            yield held[:size]
            held = held[size:]
    if len(held):
        yield held


def read_piece(utterance: Utterance, sample_rate: int, seconds: float, place: float) -> Samples:
    """At most ``seconds`` of an utterance, as :func:`read_audio` would read them; all of it if the
    header does not say how long it is.

    Args:
        place: where in a longer utterance the piece lies: 0 at the beginning, 1 at the end.

    Raises:
        CodecError: as :func:`read_audio`.
    """
    with audio_of(utterance) as file:
        known = utterance.duration
        if known is None:
            known = file.num_samples / file.sample_rate - utterance.offset
        if known > seconds:
            offset = utterance.offset + place * (known - seconds)
            utterance = replace(utterance, offset=offset, duration=seconds)
        return np.concatenate(list(file.resampled(utterance, sample_rate)))


class PartReader:
    """Reads parts of the audio file of an utterance, in ascending order.

    ``sample_rate`` (Hz), ``channels`` and ``num_samples`` are the file's, by its header.

    Raises:
        CodecError: it cannot be read.
    """

    def __init__(self, utterance: Utterance) -> None:
        self._file = _key(utterance)
        self._reader = open_audio(utterance)
        info = self._reader.info
        self.sample_rate, self.channels = info.sample_rate, info.channels
        self.num_samples = info.num_samples
        self._blocks = self._reader.blocks(seconds=1)
        self._block: Samples = np.zeros((self.channels, 0), np.float32)
        self._at = 0  # the position of the block, in samples

    def close(self) -> None:
        self._reader.__exit__()

    def has_ahead(self, utterance: Utterance) -> bool:
        """Whether the utterance is a part of this file that :meth:`cut` has not passed."""
        ahead = round(utterance.offset * self.sample_rate) >= self._at
        return ahead and self._file == _key(utterance)

    def resampled(self, utterance: Utterance, sample_rate: int) -> Iterator[Samples]:
        """The mean of the channels at ``sample_rate`` (Hz), ``[n]``, in blocks of about a second.

        Raises:
            CodecError: as :func:`read_audio`.
        """
        try:
            resampler = Resampler(self.sample_rate, sample_rate, channels=1)
        except (ValueError, RuntimeError) as error:
            raise CodecError(
                f"{utterance.place}: {self.sample_rate} Hz cannot be resampled to {sample_rate} Hz "
                f"({error})"
            ) from None
        for part in self.cut(utterance):
            yield resampler.push(part.mean(axis=0, keepdims=True))[0]
        yield resampler.flush()[0]

    def cut(self, utterance: Utterance) -> Iterator[Samples]:
        """The samples ``[C, n]``, ``n > 0``, at the file's rate, in blocks of at most a second.

        Raises:
            CodecError: as :func:`read_audio`.
        """
        rate = self.sample_rate
        start = round(utterance.offset * rate)
        stop = None if utterance.duration is None else start + round(utterance.duration * rate)
        empty = True
        while True:
            first, end = start - self._at, None if stop is None else stop - self._at
            part = self._block[:, max(0, first) : end]
            if part.shape[1]:
                empty = False
                yield part
            reached = self._at + self._block.shape[1]
            if stop is not None and reached >= stop:
                break
            if (block := next(self._blocks, None)) is None:
                break
            self._at, self._block = reached, block
        if reached == 0 or (empty and reached > start):
            raise CodecError(f"{utterance.place}: has no samples")
        if empty or (stop is not None and reached < stop - round(SLACK_SECONDS * rate)):
            raise CodecError(
                f"{utterance.place}: ends at {reached / rate:.2f} s, before the utterance does; "
                "correct the manifest, or replace the file"
            )


_kept = threading.local()


@contextmanager
def audio_of(utterance: Utterance) -> Iterator[PartReader]:
    """A reader of the utterance's audio: the one that its thread used last, where that serves.

    Raises:
        CodecError: it cannot be read.
    """
    reader: PartReader | None = getattr(_kept, "reader", None)
    _kept.reader = None
    if reader is not None and not reader.has_ahead(utterance):
        reader.close()
        reader = None
    reader = reader or PartReader(utterance)
    try:
        yield reader
    except BaseException:
        reader.close()
        raise
    other, _kept.reader = _kept.reader, None
    if other is not None:
        other.close()
    if utterance.duration is None:  # it was read to its end
        reader.close()
    else:
        _kept.reader = reader


def _key(utterance: Utterance) -> object:
    """What is the same for all parts of a file."""
    try:
        return utterance.path, utterance.member, file_state(utterance.path)
    except CodecError:
        return None  # it cannot be opened either, with a better message
