"""Formats that libsndfile reads and that need no preparation, such as CAF. It decides itself."""

from __future__ import annotations

import re
from itertools import pairwise

from audiocodec.audio.libsndfile import open_parts
from audiocodec.audio.parts import Part, find_positions
from audiocodec.audio.source import AudioFormat, Source
from audiocodec.audio.streams import AudioInput, file_end

_ASF_MAGIC = b"\x30\x26\xb2\x75"


def matches(file: AudioInput) -> bool:
    return True


def open_other(file: AudioInput) -> Source:
    return open_parts(file, marked_parts(file))


OTHER = AudioFormat((), matches, open_other)


def marked_parts(file: AudioInput) -> list[Part]:
    """The files that an MP4, CAF or WMA was joined from: their first bytes mark where each starts.
    For another format, all of the file."""
    stream = file.seekable_file()
    stream.seek(file.start)
    head = stream.read(16)
    offset, size = 0, 0
    if head[4:8] == b"ftyp":
        offset, size = 4, 8
    elif head[:4] == b"caff":
        size = 12
    elif head[:4] == _ASF_MAGIC:
        size = 16
    if not size:
        return [Part([(file.start, file_end(stream))])]
    mark = re.compile(re.escape(head[offset : offset + size]), re.DOTALL)
    *starts, end = find_positions(stream, file.start, mark, size)
    spans = pairwise([*(start - offset for start in starts), end])
    return [Part([span]) for span in spans]
