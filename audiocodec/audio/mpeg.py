"""MPEG audio frame headers (ISO 11172-3, 13818-3) and the Xing, Info and VBRI headers of MP3."""

from __future__ import annotations

from dataclasses import dataclass

FrameKind = tuple[int, int, int, int]
"""Version bits, layer, sample rate in Hz, channels: the same for all frames of a stream."""

_MPEG_1 = 3
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
# (MPEG 1, layer) -> kbit/s
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_DECODER_DELAY = 529
"""Samples that an MP3 decoder adds at the start."""


@dataclass(frozen=True)
class Frame:
    """A frame header. ``xing_offset`` is where in the frame a Xing header would be."""

    kind: FrameKind
    size: int
    num_samples: int
    xing_offset: int


@dataclass(frozen=True)
class XingHeader:
    """A frame that holds no audio: number of frames (``None`` if not stated), samples to trim."""

    num_frames: int | None
    skip: int = 0
    padding: int = 0


def parse_frame(header: bytes) -> Frame | None:
    """The frame with this four-byte header; ``None`` if it is not a valid header."""
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)
    bitrate_index, rate_index = bits >> 12 & 15, bits >> 10 & 3
    if bits >> 21 != 0x7FF or version == 1 or layer == 4:
        return None
    if bitrate_index in (0, 15) or rate_index == 3:
        return None
    is_mpeg_1 = version == _MPEG_1
    rate = _RATES[version][rate_index]
    bitrate = 1000 * _BITRATES[is_mpeg_1, layer][bitrate_index - 1]
    padding = bits >> 9 & 1
    mono = bits >> 6 & 3 == 3
    if layer == 1:
        size, num_samples = (12 * bitrate // rate + padding) * 4, 384
    else:
        num_samples = 1152 if is_mpeg_1 or layer == 2 else 576
        size = num_samples // 8 * bitrate // rate + padding
    side_info = (17 if mono else 32) if is_mpeg_1 else (9 if mono else 17)
    checksum = 0 if bits >> 16 & 1 else 2
    kind = (version, layer, rate, 1 if mono else 2)
    return Frame(kind, size, num_samples, 4 + checksum + side_info)


def parse_xing(frame: Frame, data: bytes) -> XingHeader | None:
    """The Xing, Info or VBRI header in a frame that starts with ``data``; ``None`` for audio."""
    if frame.kind[1] != 3:
        return None
    if data[36:40] == b"VBRI":
        return XingHeader(int.from_bytes(data[50:54], "big"))
    at = frame.xing_offset
    if data[at : at + 4] not in (b"Xing", b"Info") or data[6:at].strip(b"\0"):
        return None
    flags = int.from_bytes(data[at + 4 : at + 8], "big")
    at += 8
    num_frames = None
    if flags & 1:
        num_frames = int.from_bytes(data[at : at + 4], "big")
    at += 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    if not num_frames or len(data) < at + 24 or not data[at]:
        return XingHeader(num_frames)
    delays = int.from_bytes(data[at + 21 : at + 24], "big")  # LAME: encoder delay, padding
    return XingHeader(
        num_frames,
        skip=(delays >> 12) + _DECODER_DELAY,
        padding=max(0, (delays & 0xFFF) - _DECODER_DELAY),
    )
