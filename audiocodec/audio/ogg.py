"""Ogg with Vorbis, Opus, FLAC or Speex, also chained (RFC 3533). libsndfile decodes it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from audiocodec.audio.libsndfile import open_parts
from audiocodec.audio.parts import Part
from audiocodec.audio.source import AudioFormat, Source
from audiocodec.audio.streams import AudioInput, file_end

_MAGIC = b"OggS"
_FIRST_PAGE, _LAST_PAGE = 2, 4  # flags
_AUDIO_STARTS = (b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex")


def matches(file: AudioInput) -> bool:
    return file.head[:4] == _MAGIC


def open_ogg(file: AudioInput) -> Source:
    return open_parts(file, ogg_parts(file.seekable_file(), file.start))


OGG = AudioFormat((".ogg", ".opus", ".oga"), matches, open_ogg)


@dataclass(frozen=True)
class _Page:
    """An Ogg page. ``complete``: all of its bytes are there. ``starts_audio``: it holds the first
    packet of an audio stream."""

    start: int
    size: int
    flags: int
    serial: int
    complete: bool
    starts_audio: bool


def ogg_parts(file: BinaryIO, start: int) -> list[Part]:
    """Ogg streams. One whose last page is missing or incomplete was cut short."""
    parts: list[Part] = []
    begun = False  # whether pages other than the first of each stream were seen
    audio_serial: int | None = None
    end = file_end(file)
    for page in _pages(file, start, end):
        is_first = bool(page.flags & _FIRST_PAGE)
        if not parts or (is_first and begun):
            parts.append(Part([(page.start, page.start)], truncated=True))
            if is_first:
                begun, audio_serial = False, None
        part = parts[-1]
        if not is_first:
            begun = True
        elif audio_serial is None or page.starts_audio:
            audio_serial = page.serial
        part.spans = [(part.spans[0][0], min(page.start + page.size, end))]
        if page.serial == audio_serial:
            part.truncated = not (page.flags & _LAST_PAGE and page.complete)
        elif not page.complete:
            part.truncated = True
    return parts


def _pages(file: BinaryIO, at: int, end: int) -> Iterator[_Page]:
    """The pages from position ``at`` on. Bytes between pages are skipped."""
    while True:
        file.seek(at)
        head = file.read(27 + 255 + 8)
        if len(head) < 27:
            if head[:4] == _MAGIC:
                yield _Page(at, len(head), 0, -1, complete=False, starts_audio=False)
            return
        if head[:4] != _MAGIC:
            found = head.find(_MAGIC, 1)
            at += found if found > 0 else len(head) - 3
            continue
        flags, _, serial = struct.unpack_from("<BqI", head, 5)
        count = head[26]
        size = 27 + count + sum(head[27 : 27 + count])
        starts_audio = head[27 + count :].startswith(_AUDIO_STARTS)
        file.seek(at + size)
        if at + size < end and file.read(4) != _MAGIC:
            file.seek(at + 4)
            found = file.read(size - 4).find(_MAGIC)
            if found >= 0:  # the page was cut, and another begins in it
                yield _Page(at, found + 4, flags, serial, False, starts_audio)
                at += found + 4
                continue
        yield _Page(at, size, flags, serial, at + size <= end, starts_audio)
        at += size
