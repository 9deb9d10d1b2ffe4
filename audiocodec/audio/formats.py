"""All formats that audio is read from and written to: how an input or a target is opened.

An input's format is recognised by its first bytes, not by its name. WAV is read as it arrives; the
other formats need random access, so a pipe is first copied into a temporary file.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from audiocodec.audio.aiff import AIFF
from audiocodec.audio.file_writer import AudioWriter
from audiocodec.audio.flac import FLAC
from audiocodec.audio.media import MEDIA
from audiocodec.audio.mp3 import MP3
from audiocodec.audio.ogg import OGG
from audiocodec.audio.other import OTHER
from audiocodec.audio.pcm import RawSource
from audiocodec.audio.pipe_writer import PipeWriter
from audiocodec.audio.raw import RawFormat
from audiocodec.audio.source import AudioFormat, Source, UnsupportedError
from audiocodec.audio.streams import AudioInput
from audiocodec.audio.wav import WAV
from audiocodec.audio.writer import Writer
from audiocodec.errors import CodecError

FORMATS: list[AudioFormat] = [WAV, FLAC, OGG, MP3, AIFF, OTHER, MEDIA]
"""In the order in which they are tried. A new format is one more entry."""

READ_SUFFIXES = tuple(suffix for format in FORMATS for suffix in format.suffixes)
"""Suffixes of the files that are found in folders. Other files can be read by name."""


def open_source(
    stream: BinaryIO, name: Path, stack: ExitStack, raw: RawFormat | None = None
) -> Source:
    """Open the audio that starts at the current position of a stream.

    Args:
        name: the input's name for messages.
        stack: closes the source.
        raw: the format of samples without a header; ``None`` for a file of one of the formats.

    Raises:
        CodecError: empty, or not audio that can be read.
    """
    if raw is not None:
        return RawSource(stream, raw)
    file = AudioInput(stream, name, stack)
    for format in FORMATS:
        if format.matches(file):
            file.rewind()
            try:
                source = format.open(file)
            except UnsupportedError:
                continue
            stack.callback(source.close)
            return source
    raise CodecError(f"{name}: not an audio file that can be read; {_remedy(name)}")


def _remedy(name: Path) -> str:
    raw = ", or name --raw RATE if it is samples alone" if str(name) == "stdin" else ""
    return f"convert it to WAV or FLAC{raw}"


def open_writer(
    target: str | Path | BinaryIO,
    sample_rate: int,
    channels: int,
    num_samples: int | None = None,
    raw: bool = False,
) -> Writer:
    """The writer for a path (:class:`AudioWriter`) or for a stream (:class:`PipeWriter`).

    Args:
        sample_rate: Hz.
        num_samples: samples per channel, if they are known from the start.
        raw: write a stream without the WAV's header; a path's suffix decides its format.

    Raises:
        CodecError: another format, or not writable.
    """
    if isinstance(target, (str, Path)):
        return AudioWriter(target, sample_rate, channels, num_samples)
    return PipeWriter(target, sample_rate, channels, num_samples, raw)
