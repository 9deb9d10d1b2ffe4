"""FLAC (RFC 9639), also several streams joined end to end. libsndfile decodes them."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import BinaryIO

from audiocodec.audio.libsndfile import open_parts
from audiocodec.audio.parts import Part, find_positions
from audiocodec.audio.source import AudioFormat, Source
from audiocodec.audio.streams import AudioInput

_MAGIC = b"fLaC"
_STREAM_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # the marker and STREAMINFO's header
_LENGTH_MASK = 2**36 - 1


def matches(file: AudioInput) -> bool:
    return file.head[:4] == _MAGIC


def open_flac(file: AudioInput) -> Source:
    return open_parts(file, flac_parts(file.seekable_file(), file.start))


FLAC = AudioFormat((".flac",), matches, open_flac)


def flac_parts(file: BinaryIO, start: int) -> list[Part]:
    """FLAC streams, each from its marker and STREAMINFO to the next one."""
    positions = find_positions(file, start, _STREAM_START, 8)
    return [_flac_part(file, *span) for span in pairwise(positions)]


def _flac_part(file: BinaryIO, start: int, end: int) -> Part:
    """libsndfile stops at the length in STREAMINFO, so it gets a copy with length 0 (unknown)."""
    file.seek(start)
    head = file.read(26)
    fields = int.from_bytes(head[18:], "big")
    stated = fields & _LENGTH_MASK
    header = head[:18] + (fields - stated).to_bytes(8, "big")
    return Part([(min(start + 26, end), end)], header, stated_samples=stated)
