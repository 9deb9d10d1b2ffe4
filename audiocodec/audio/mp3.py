"""MP3, frame by frame: its parts, their exact lengths and what to trim. libsndfile decodes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from audiocodec.audio.id3 import ID3_HEADER_BYTES, id3_bytes
from audiocodec.audio.libsndfile import open_parts
from audiocodec.audio.mpeg import Frame, FrameKind, XingHeader, parse_frame, parse_xing
from audiocodec.audio.parts import BLOCK_BYTES, Part
from audiocodec.audio.source import AudioFormat, Source
from audiocodec.audio.streams import AudioInput, file_end

_FRAME_START_BYTES = 192
"""Enough for a Xing header."""


def matches(file: AudioInput) -> bool:
    return file.has_id3 or file.head[:1] == b"\xff"


def open_mp3(file: AudioInput) -> Source:
    return open_parts(file, mp3_parts(file.seekable_file(), file.start))


MP3 = AudioFormat((".mp3",), matches, open_mp3)


@dataclass
class _PartBuilder:
    """The part that :func:`mp3_parts` is in."""

    kind: FrameKind
    frame_samples: int
    xing: XingHeader | None
    spans: list[tuple[int, int]] = field(default_factory=list)
    num_frames: int = 0

    def add(self, start: int, end: int) -> None:
        self.num_frames += 1
        if self.spans and self.spans[-1][1] == start:
            self.spans[-1] = (self.spans[-1][0], end)
        else:
            self.spans.append((start, end))

    def finish(self, truncated: bool) -> Part:
        decoded = self.num_frames * self.frame_samples
        xing = self.xing or XingHeader(None)
        part = Part(
            self.spans,
            endless=True,
            truncated=truncated,
            decoded_samples=decoded,
            skip=xing.skip,
            padding=xing.padding,
        )
        if xing.num_frames is not None and self.num_frames < xing.num_frames:
            part.truncated = True
            missing = (xing.num_frames - self.num_frames) * self.frame_samples
            part.missing_samples = missing - part.padding
        if xing.num_frames != self.num_frames:
            part.padding = 0
        part.padding = max(0, min(part.padding, decoded - part.skip))
        return part


def mp3_parts(file: BinaryIO, start: int) -> list[Part]:
    """MPEG audio streams. A Xing (Info, VBRI) header starts a part and is left out of it.

    Returns none if no two frames follow one another near ``start``.
    """
    parts: list[Part] = []
    part: _PartBuilder | None = None
    truncated = False
    for position, frame, data in _frames(file, start):
        if len(data) < 4:
            truncated = True
            break
        xing = parse_xing(frame, data)
        if part is None or xing is not None or part.kind != frame.kind:
            if part and part.num_frames:
                parts.append(part.finish(truncated=False))
            part = _PartBuilder(frame.kind, frame.num_samples, xing)
            if xing is not None:
                continue
        part.add(position, position + frame.size)
    if part and (part.num_frames or (part.xing and part.xing.num_frames)):
        parts.append(part.finish(truncated))
    return parts


class _Window:
    """Bytes at any position of a file, read in large blocks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start, self._data = 0, b""

    def read(self, position: int, size: int) -> bytes:
        if not self._start <= position or position + size > self._start + len(self._data):
            self._file.seek(position)
            self._start, self._data = position, self._file.read(BLOCK_BYTES)
        return self._data[position - self._start : position - self._start + size]


def _frames(file: BinaryIO, start: int) -> Iterator[tuple[int, Frame, bytes]]:
    """Position, header and first bytes of each whole frame; no bytes for a frame that is cut."""
    end = file_end(file)
    window = _Window(file)
    parsed: dict[bytes, Frame | None] = {}
    at = start
    kind: FrameKind | None = None
    found_any = False

    def frame_at(position: int) -> Frame | None:
        head = window.read(position, 4)
        if len(head) < 4 or head[0] != 0xFF:
            return None
        if head not in parsed:
            parsed[head] = parse_frame(head)
        return parsed[head]

    while at < end - 3:
        frame = frame_at(at)
        if frame and frame.kind != kind:
            # Only a frame that is followed by another one, or by nothing, starts a stream.
            after = at + frame.size
            following = frame_at(after)
            if not (following and following.kind == frame.kind) and after != end:
                frame = None
        if frame:
            kind, found_any = frame.kind, True
            if at + frame.size > end:
                yield at, frame, b""
                return
            yield at, frame, window.read(at, min(frame.size, _FRAME_START_BYTES))
            at += frame.size
            continue
        tag = _tag_bytes(window.read(at, 32), end - at)
        if tag is None:
            kind = None
            if not found_any and at - start > BLOCK_BYTES:
                return
            block = window.read(at, BLOCK_BYTES)
            found = block.find(b"\xff", 1)
            tag = found if found > 0 else max(1, len(block))
        at += tag


def _tag_bytes(head: bytes, remaining: int) -> int | None:
    """Size in bytes of the ID3 or APE tag that starts with ``head``; ``None`` if there is none."""
    if head[:3] == b"ID3" and len(head) >= ID3_HEADER_BYTES:
        return id3_bytes(head)
    if head[:8] == b"APETAGEX" and head[23:24] >= b"\x80":  # a tag with a header
        return 32 + int.from_bytes(head[12:16], "little")
    if head[:3] == b"TAG" and remaining <= 128:  # ID3v1, the end of the file
        return remaining
    return None
