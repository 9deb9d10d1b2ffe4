"""The parts of a compressed file, and their lengths, by counting pages and frames.

Ogg, FLAC and MP3 files may be joined end to end (``cat a.opus b.opus``). libsndfile reads the first
part of such a file and stops; for an MP3 without a Xing header it stops at an estimate. So the
pages or frames are counted here, and each part is given to libsndfile as a file of its own.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, BinaryIO

Span = tuple[int, int]
_PIECE = 2**18
_HELD = 2**15
_FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_FLAC_LENGTH = 2**36 - 1
_ENDLESS = 2**40


@dataclass
class Link:
    """One of the parts that a file is joined from.

    Args:
        spans: its bytes, in order.
        before: bytes that stand before them, in place of its own header.
        endless: pretend to a length beyond any file's. From a file's length libmpg123 estimates
            how many samples it has, and libsndfile stops there.
        truncated: it ends before its own end.
        frames: its number of samples before anything is trimmed, where libsndfile is not asked.
        stated: the number of samples that a FLAC's header counts. It is checked, not believed.
        skip: samples to drop at its start, of an MP3: what its encoder and decoder put there.
        padding: samples to drop at its end.
        missing: samples that its header counts and that are not there.
    """

    spans: list[Span]
    before: bytes = b""
    endless: bool = False
    truncated: bool = False
    frames: int | None = None
    stated: int | None = None
    skip: int = 0
    padding: int = 0
    missing: int = 0


class View(io.RawIOBase):
    """A link as a file of its own, for libsndfile.

    libsndfile's callbacks cannot raise: ``failure`` is the exception that a read met.
    """

    def __init__(self, file: BinaryIO, link: Link) -> None:
        self._file, self._spans, self._before = file, link.spans, link.before
        self._end = len(link.before) + sum(end - start for start, end in link.spans)
        self._said = _ENDLESS if link.endless else self._end
        self._at = self._place = 0
        self._held = memoryview(b"")
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._said)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        try:
            view = memoryview(buffer).cast("B")
            count = 0
            while count < len(view) and (got := self._one(view[count:])):
                count += got
                self._at += got
            return count
        except BaseException as failure:
            self.failure = failure
            return 0

    def _one(self, buffer: memoryview) -> int:
        """From the current place, as far as its span goes."""
        at = self._at
        if at < len(self._before):
            data = self._before[at : at + len(buffer)]
            buffer[: len(data)] = data
            return len(data)
        at -= len(self._before)
        for start, end in self._spans:
            if at < end - start:
                held = self._held_at(start + at)[: min(len(buffer), end - start - at)]
                buffer[: len(held)] = held
                return len(held)
            at -= end - start
        if self._at >= self._said - 128 > self._end:  # where libmpg123 looks for an ID3 tag
            buffer[:] = bytes(len(buffer))
            return len(buffer)
        return 0

    def _held_at(self, place: int) -> memoryview:
        """The file's bytes from ``place`` on, some of them: decoders ask for few at a time."""
        if not self._place <= place < self._place + len(self._held):
            self._file.seek(place)
            self._place, self._held = place, memoryview(self._file.read(_HELD))
        return self._held[place - self._place :]


def file_end(file: BinaryIO) -> int:
    """The position after a seekable file's last byte."""
    return file.seek(0, io.SEEK_END)


def after_id3(file: BinaryIO, start: int) -> int:
    """The position after the ID3v2 tags at ``start``."""
    while True:
        file.seek(start)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return start
        start += _id3_size(head)


def _id3_size(head: bytes) -> int:
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size + (20 if head[5] & 0x10 else 10)


def _places(file: BinaryIO, start: int, pattern: re.Pattern[bytes], size: int) -> list[int]:
    """Where ``pattern``, of ``size`` bytes, occurs from ``start`` on; the file's end comes last."""
    found = []
    tail, at = b"", start
    file.seek(start)
    while data := file.read(_PIECE):
        data = tail + data
        at -= len(tail)
        found += [at + match.start() for match in pattern.finditer(data)]
        at += len(data)
        tail = data[1 - size :]
    return [*found, at]


def flac_links(file: BinaryIO, start: int) -> list[Link]:
    """FLAC streams, each from its marker and STREAMINFO to the next one."""
    places = _places(file, start, _FLAC_START, 8)
    return [_flac_link(file, *span) for span in pairwise(places)]


def other_links(file: BinaryIO, start: int, head: bytes) -> list[Link]:
    """Files of another kind that lie one behind the other; mostly it is one.

    In an MP4, CAF or WMA the first bytes mark where the next one starts; an AIFF's or AU's header
    states where it ends.
    """
    end = file_end(file)
    if head[:4] in (b"FORM", b".snd"):
        links = []
        while head and head[:4] in (b"FORM", b".snd"):
            stated = _stated_size(head)
            stop = end if stated is None else min(end, start + stated)
            links.append(
                Link([(start, stop)], truncated=stated is not None and start + stated > end)
            )
            start = stop
            file.seek(start)
            head = file.read(12)
        last = links[-1]
        last.spans = [(last.spans[0][0], end)]
        file.seek(last.spans[0][0])
        head = file.read(12)
        if head[:4] == b".snd" and head[8:] == bytes(4):  # the recorder was stopped
            last.before, last.spans = head[:8] + b"\xff\xff\xff\xff", [(file.tell(), end)]
        return links
    skip, size = 0, 0
    if head[4:8] == b"ftyp":
        skip, size = 4, 8
    elif head[:4] == b"caff":
        size = 12
    elif head[:4] == b"\x30\x26\xb2\x75":
        size = 16
    if not size:
        return [Link([(start, end)])]
    mark = re.compile(re.escape(head[skip : skip + size]), re.DOTALL)
    starts = [place - skip for place in _places(file, start, mark, size)[:-1]]
    return [Link([span]) for span in pairwise([*starts, end])]


def _stated_size(head: bytes) -> int | None:
    """The bytes that an AIFF's or AU's header counts, unless it does not know."""
    first, second = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    if head[:4] == b"FORM":
        return 8 + first if 0 < first < 2**31 - 2**16 else None
    return first + second if second not in (0, 2**32 - 1) else None


def _flac_link(file: BinaryIO, start: int, end: int) -> Link:
    """libsndfile stops at the length in STREAMINFO, so it is shown none."""
    file.seek(start)
    head = file.read(26)
    fields = int.from_bytes(head[18:], "big")
    stated = fields & _FLAC_LENGTH
    before = head[:18] + (fields - stated).to_bytes(8, "big")
    return Link([(min(start + 26, end), end)], before, stated=stated)


def ogg_links(file: BinaryIO, start: int) -> list[Link]:
    """Ogg streams. One without its last page, or with half of it, was cut short."""
    links: list[Link] = []
    begun = False  # whether pages other than the first of each stream were seen
    main: int | None = None
    end = file_end(file)
    for page, size, flags, serial, whole, audio in _ogg_pages(file, start, end):
        if flags & 2 and (begun or not links):
            links.append(Link([(page, page)], truncated=True))
            begun, main = False, None
        if not links:
            links.append(Link([(page, page)], truncated=True))
        link = links[-1]
        if flags & 2:
            if main is None or audio:
                main = serial
        else:
            begun = True
        link.spans = [(link.spans[0][0], min(page + size, end))]
        if serial == main:
            link.truncated = not (flags & 4 and whole)
        elif not whole:
            link.truncated = True
    return links


def _ogg_pages(
    file: BinaryIO, at: int, end: int
) -> Iterator[tuple[int, int, int, int, bool, bool]]:
    """Position, size, flags, serial number, whether it is whole, and whether audio starts in it."""
    while True:
        file.seek(at)
        head = file.read(27 + 255 + 8)
        if len(head) < 27:
            if head[:4] == b"OggS":
                yield at, len(head), 0, -1, False, False
            return
        if head[:4] != b"OggS":
            found = head.find(b"OggS", 1)
            at += found if found > 0 else len(head) - 3
            continue
        flags, _, serial = struct.unpack_from("<BqI", head, 5)
        count = head[26]
        size = 27 + count + sum(head[27 : 27 + count])
        packet = head[27 + count :]
        audio = packet.startswith((b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex"))
        file.seek(at + size)
        if at + size < end and file.read(4) != b"OggS":
            file.seek(at + 4)
            found = file.read(size - 4).find(b"OggS")
            if found >= 0:  # the page was cut, and another begins in it
                yield at, found + 4, flags, serial, False, audio
                at += found + 4
                continue
        yield at, size, flags, serial, at + size <= end, audio
        at += size


_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True)
class _Frame:
    """An MPEG audio frame header: its kind, bytes, samples, and where a Xing header would be."""

    kind: tuple[int, int, int, int]  # version, layer, Hz, channels
    size: int
    samples: int
    xing: int


def _mpeg_frame(head: int) -> _Frame | None:
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    bitrate, rate = head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    first = version == 3
    hertz = _RATES[version][rate]
    bits = 1000 * _BITRATES[first, layer][bitrate - 1]
    padding = head >> 9 & 1
    mono = head >> 6 & 3 == 3
    if layer == 1:
        size, samples = (12 * bits // hertz + padding) * 4, 384
    else:
        samples = 1152 if first or layer == 2 else 576
        size = samples // 8 * bits // hertz + padding
    side = (17 if mono else 32) if first else (9 if mono else 17)
    checked = 0 if head >> 16 & 1 else 2
    return _Frame((version, layer, hertz, 1 if mono else 2), size, samples, 4 + checked + side)


@dataclass
class _Mp3:
    """What :func:`mp3_links` knows of the part that it is in."""

    link: Link
    kind: tuple[int, int, int, int]
    promised: int | None = None
    count: int = 0
    samples: int = field(default=0)

    def finish(self, cut: bool) -> Link:
        link = self.link
        link.frames = self.count * self.samples
        link.truncated = cut
        if self.promised is not None and self.count < self.promised:
            link.truncated = True
            link.missing = (self.promised - self.count) * self.samples - link.padding
        if self.promised != self.count:
            link.padding = 0
        link.padding = max(0, min(link.padding, link.frames - link.skip))
        return link


def mp3_links(file: BinaryIO, start: int) -> list[Link]:
    """MPEG audio, frame by frame. A Xing (Info, VBRI) header starts a part and is left out of it.

    Returns nothing where no two frames follow one another near ``start``.
    """
    links: list[Link] = []
    now: _Mp3 | None = None
    cut = False
    for at, frame, data in _mpeg_frames(file, start):
        if len(data) < 4:
            cut = True
            break
        info = _xing(frame, data)
        if now is None or info is not None or now.kind != frame.kind:
            if now and now.count:
                links.append(now.finish(False))
            now = _Mp3(Link([], endless=True), frame.kind, samples=frame.samples)
            if info is not None:
                now.promised, now.link.skip, now.link.padding = info
                continue
        now.count += 1
        spans = now.link.spans
        if spans and spans[-1][1] == at:
            spans[-1] = (spans[-1][0], at + frame.size)
        else:
            spans.append((at, at + frame.size))
    if now and (now.count or now.promised):
        links.append(now.finish(cut))
    return links


def _mpeg_frames(file: BinaryIO, start: int) -> Iterator[tuple[int, _Frame, bytes]]:
    """Position, header and first bytes of each whole frame; no bytes for one that is cut."""
    end = file_end(file)
    known: dict[int, _Frame | None] = {}
    base, held = start, b""
    at = start
    kind: tuple[int, int, int, int] | None = None
    first = True

    def look(place: int, count: int) -> bytes:
        nonlocal base, held
        if not base <= place or place + count > base + len(held):
            file.seek(place)
            base, held = place, file.read(_PIECE)
        return held[place - base : place - base + count]

    def frame_at(place: int) -> _Frame | None:
        head = look(place, 4)
        if len(head) < 4 or head[0] != 0xFF:
            return None
        word = int.from_bytes(head, "big")
        if word not in known:
            known[word] = _mpeg_frame(word)
        return known[word]

    while at < end - 3:
        frame = frame_at(at)
        if frame and frame.kind != kind:
            # A new start is believed if another frame, or nothing, follows.
            after = at + frame.size
            following = frame_at(after)
            if not (following and following.kind == frame.kind) and after != end:
                frame = None
        if frame:
            kind, first = frame.kind, False
            if at + frame.size > end:
                yield at, frame, b""
                return
            yield at, frame, look(at, min(frame.size, 192))
            at += frame.size
            continue
        head = look(at, 32)
        if head[:3] == b"ID3" and len(head) >= 10:
            at += _id3_size(head)
        elif head[:8] == b"APETAGEX" and head[23:24] >= b"\x80":  # a tag with a header
            at += 32 + int.from_bytes(head[12:16], "little")
        elif head[:3] == b"TAG" and end - at <= 128:
            return
        else:
            kind = None
            if first and at - start > _PIECE:
                return
            found = look(at, _PIECE).find(b"\xff", 1)
            at += found if found > 0 else max(1, len(look(at, _PIECE)))


def _xing(frame: _Frame, data: bytes) -> tuple[int | None, int, int] | None:
    """Of a frame that is no audio but a header: frames promised, samples to drop at both ends."""
    if frame.kind[1] != 3:
        return None
    if data[36:40] == b"VBRI":
        return int.from_bytes(data[50:54], "big"), 0, 0
    at = frame.xing
    if data[at : at + 4] not in (b"Xing", b"Info") or data[6:at].strip(b"\0"):
        return None
    flags = int.from_bytes(data[at + 4 : at + 8], "big")
    at += 8
    promised = None
    if flags & 1:
        promised = int.from_bytes(data[at : at + 4], "big")
    at += 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if not promised or len(data) < at + 24 or not data[at]:
        return promised, 0, 0
    delays = int.from_bytes(data[at + 21 : at + 24], "big")
    # The decoder adds 529 samples of its own.
    return promised, (delays >> 12) + 529, max(0, (delays & 0xFFF) - 529)
