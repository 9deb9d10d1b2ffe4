"""AIFF and AU, whose headers state where they end, also joined. libsndfile decodes them."""

from __future__ import annotations

from audiocodec.audio.libsndfile import open_parts
from audiocodec.audio.parts import Part
from audiocodec.audio.source import AudioFormat, Source
from audiocodec.audio.streams import AudioInput, file_end

_AIFF, _AU = b"FORM", b".snd"


def matches(file: AudioInput) -> bool:
    return file.head[:4] in (_AIFF, _AU)


def open_aiff(file: AudioInput) -> Source:
    return open_parts(file, aiff_parts(file))


AIFF = AudioFormat((".aif", ".aiff"), matches, open_aiff)


def aiff_parts(file: AudioInput) -> list[Part]:
    """The files that lie one behind the other. The last one has all bytes up to the end."""
    stream, start, head = file.seekable_file(), file.start, file.head
    end = file_end(stream)
    parts = []
    while head[:4] in (_AIFF, _AU):
        size = _stated_size(head)
        stop = end if size is None else min(end, start + size)
        parts.append(Part([(start, stop)], truncated=size is not None and start + size > end))
        start = stop
        stream.seek(start)
        head = stream.read(12)
    last = parts[-1]
    last.spans = [(last.spans[0][0], end)]
    stream.seek(last.spans[0][0])
    head = stream.read(12)
    if head[:4] == _AU and head[8:] == bytes(4):  # the recorder was stopped: length unknown
        last.header, last.spans = head[:8] + b"\xff\xff\xff\xff", [(stream.tell(), end)]
    return parts


def _stated_size(head: bytes) -> int | None:
    """The file's size in bytes by the first 12 of them; ``None`` if it is not known."""
    first, second = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    if head[:4] == _AIFF:
        return 8 + first if 0 < first < 2**31 - 2**16 else None
    return first + second if second not in (0, 2**32 - 1) else None
