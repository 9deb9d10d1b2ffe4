"""The audio of an utterance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np

from audiocodec.audio.reader import AudioReader
from audiocodec.audio.resampling import Resampler
from audiocodec.audio.source import Samples
from audiocodec.corpus.sources import parquet, webdataset
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
    with open_audio(utterance) as reader:
        yield from _resampled(reader, utterance, sample_rate)


def open_audio(utterance: Utterance) -> AudioReader:
    """The audio file that an utterance is, or is a part of.

    Raises:
        CodecError: it cannot be read.
    """
    return AudioReader(_Member(utterance) if utterance.member else utterance.path)


class _Member(BytesIO):
    """An audio file in a tar or Parquet file, with its name for messages."""

    def __init__(self, utterance: Utterance) -> None:
        super().__init__(_member_bytes(utterance))
        self.name = utterance.place


def checksum(utterance: Utterance) -> str:
    """SHA-256 of the audio file that an utterance is, or is a part of, in hexadecimal.

    Raises:
        CodecError: it cannot be read.
    """
    if utterance.member:
        return hashlib.sha256(_member_bytes(utterance)).hexdigest()
    try:
        with open(utterance.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror or error
        raise CodecError(f"{utterance.path}: cannot be read ({reason})") from None


def _member_bytes(utterance: Utterance) -> bytes:
    inside_parquet = Path(utterance.path).suffix.lower() == ".parquet"
    read = parquet.read_row if inside_parquet else webdataset.read_member
    return read(utterance.path, utterance.member)


def cut_blocks(reader: AudioReader, utterance: Utterance) -> Iterator[Samples]:
    """The samples ``[C, n]`` of an utterance at its file's own rate, in blocks of at most a second.

    Raises:
        CodecError: as :func:`read_audio`.
    """
    rate = reader.info.sample_rate
    start = round(utterance.offset * rate)
    stop = None if utterance.duration is None else start + round(utterance.duration * rate)
    at = 0
    for block in reader.blocks(seconds=1):
        part = block[:, max(0, start - at) : None if stop is None else stop - at]
        if part.shape[1]:
            yield part
        at += block.shape[1]
        if stop is not None and at >= stop:
            break
    if at == 0:
        raise CodecError(f"{utterance.place}: has no samples")
    if at <= start or (stop is not None and at < stop - round(SLACK_SECONDS * rate)):
        raise CodecError(
            f"{utterance.place}: ends at {at / rate:.2f} s, before the utterance does; correct "
            "the manifest, or replace the file"
        )


def _resampled(reader: AudioReader, utterance: Utterance, sample_rate: int) -> Iterator[Samples]:
    """The samples ``[n]`` of the utterance, block by block."""
    rate = reader.info.sample_rate
    try:
        resampler = Resampler(rate, sample_rate, channels=1)
    except (ValueError, RuntimeError) as error:
        raise CodecError(
            f"{utterance.place}: {rate} Hz cannot be resampled to {sample_rate} Hz ({error})"
        ) from None
    for part in cut_blocks(reader, utterance):
        yield resampler.push(part.mean(axis=0, keepdims=True))[0]
    yield resampler.flush()[0]
