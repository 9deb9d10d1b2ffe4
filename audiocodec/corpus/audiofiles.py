"""The audio file of an utterance: by itself, in a tar, or in a Parquet file."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from audiocodec.audio.reader import AudioReader
from audiocodec.corpus.sources import parquet, webdataset
from audiocodec.corpus.sources.state import State, file_state
from audiocodec.corpus.utterance import Utterance
from audiocodec.errors import CodecError


def open_audio(utterance: Utterance) -> AudioReader:
    """The audio file that an utterance is, or is a part of.

    Raises:
        CodecError: it cannot be read.
    """
    return AudioReader(_Member(utterance) if utterance.member else utterance.path)


class _Member(BytesIO):
    """An audio file in a tar or Parquet file, with its name for messages."""

    def __init__(self, utterance: Utterance) -> None:
        super().__init__(_member_bytes(utterance.path, utterance.member, utterance.span))
        self.name = utterance.place


def checksum(utterance: Utterance) -> str:
    """SHA-256 of the audio file that an utterance is, or is a part of, in hexadecimal.

    Raises:
        CodecError: it cannot be read.
    """
    return _checksum(utterance.path, utterance.member, file_state(utterance.path))


@lru_cache(maxsize=64)  # for the parts of one file
def _checksum(path: str, member: str, state: State) -> str:
    if member:
        return hashlib.sha256(_member_bytes(path, member)).hexdigest()
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None


def _member_bytes(path: str, member: str, span: tuple[int, int] | None = None) -> bytes:
    if Path(path).suffix.lower() == ".parquet":
        return parquet.read_row(path, member)
    return webdataset.read_member(path, member, span)
