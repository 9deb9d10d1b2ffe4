"""Audio in media files that libsndfile does not read (AAC, MP4, Matroska and more), through PyAV.

PyAV brings FFmpeg's decoders; the extra ``av`` installs it. Decoded is the first audio stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from audiocodec.audio.links import Link, View
from audiocodec.errors import CodecError, DamagedError, RestError
from audiocodec.extras import import_extra

Frames = npt.NDArray[np.float32]

_PADDING = 4096  # samples: the most that an encoder adds at the end
_SLACK_SECONDS = 0.25  # of a stated length, before less than that is called cut short

_MAGICS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x30\x26\xb2\x75",  # ASF: WMA
    *(b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9"),  # AAC in ADTS
    *(b"#!AMR", b"wvpk", b"OggS", b"caff", b"FLV\x01", b"FORM"),
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # MP4, QuickTime


def is_media(head: bytes) -> bool:
    """Whether a file that opens with ``head`` may be decoded by FFmpeg.

    The list is short on purpose: FFmpeg also takes playlists, which name other files and addresses.
    """
    return head.startswith(_MAGICS) or head[4:8] in _BOXES


class MediaSource:
    """A :class:`~audiocodec.audio.sources.Source` of the first audio stream of a media file.

    Raises:
        CodecError: PyAV is not installed, no audio, or nothing that FFmpeg can read.
    """

    def __init__(self, file: BinaryIO, link: Link, name: Path) -> None:
        self._av: Any = import_extra("av", "av", f"{name}: audio of this kind")
        self._view = View(file, link)
        try:
            self._container = self._av.open(self._view, mode="r")
            self._begin(name)
        except self._av.FFmpegError as error:
            if self._view.failure:
                raise self._view.failure from None
            raise CodecError(
                f"{name}: not an audio file that can be read ({error.strerror}); convert it to WAV "
                "or FLAC"
            ) from None

    def _begin(self, name: Path) -> None:
        if not self._container.streams.audio:
            raise CodecError(f"{name}: holds no audio")
        stream = self._container.streams.audio[0]
        self._end: Fraction | None = None
        self._opus = "opus" in stream.codec_context.name
        self._packed = 0
        self._frames = self._decoded(stream)
        first = next(self._frames, None)
        shaped = first or stream.codec_context
        self.sample_rate, self.channels = shaped.sample_rate, shaped.layout.nb_channels
        self._start = first.pts * first.time_base if first and first.pts is not None else None
        self._mp4 = "mp4" in self._container.format.name
        self._stated = self._stated_length(stream)
        self.num_samples = self._stated or 0
        self.truncated, self.missing = False, 0
        self._done = 0
        self._held: list[Frames] = []
        self._waiting: list[Frames] = []
        self._skip = 0
        if first:
            if self._opus:
                # Of Opus made from less than 48 kHz, FFmpeg drops too little at the start.
                before = int.from_bytes((stream.codec_context.extradata or b"")[10:12], "little")
                self._skip = max(0, before - (self._packed - first.samples))
            if self._start is not None:
                self._start += Fraction(self._skip, self.sample_rate)
                if abs(self._start) < first.time_base:  # it was rounded
                    self._start = Fraction(0)
            self._hold(_samples(first))

    def _decoded(self, stream: Any) -> Iterator[Any]:
        """The stream's frames. ``_end`` is the time at which the last packet so far ends."""
        for packet in self._container.demux(stream):
            if packet.pts is not None and packet.duration:
                self._end = (packet.pts + packet.duration) * packet.time_base
            if self._opus:
                self._packed += _opus_samples(bytes(packet))
            yield from packet.decode()

    def _stated_length(self, stream: Any) -> int | None:
        """The samples that the file counts, where such a number can be relied on."""
        duration = None
        if self._mp4 and stream.duration:
            duration = stream.duration * stream.time_base
        elif "matroska" in self._container.format.name and len(self._container.streams) == 1:
            duration = (self._container.duration or 0) / self._av.time_base
        return round(duration * self.sample_rate) if duration else None

    def read(self, size: int) -> Frames:
        ended = False
        while not ended and sum(map(len, self._waiting)) < size:
            frame = self._next()
            ended = frame is None
            if frame is not None:
                self._hold(_samples(frame))
        if ended:
            self._release()
        joined = np.concatenate([np.zeros((0, self.channels), np.float32), *self._waiting])
        self._waiting = [joined[size:]] if len(joined) > size else []
        if not len(joined) and self._stated:
            self.missing = max(0, self._stated - self._done)
            self.truncated = self.missing > _SLACK_SECONDS * self.sample_rate
        return joined[:size]

    def _next(self) -> Any:
        try:
            frame = next(self._frames, None)
        except self._av.FFmpegError as error:
            raise self._view.failure or DamagedError(error.strerror) from None
        if self._view.failure:
            raise self._view.failure
        if frame is not None:
            rate, channels = frame.sample_rate, frame.layout.nb_channels
            if (rate, channels) != (self.sample_rate, self.channels):
                raise RestError(
                    f"the audio goes on with {channels} channels at {rate} Hz", "convert it to WAV"
                )
        return frame

    def _hold(self, samples: Frames) -> None:
        """The last samples wait until it is known whether they are padding."""
        dropped = min(self._skip, len(samples))
        samples = samples[dropped:]
        self._skip -= dropped
        self._done += len(samples)
        self._held.append(samples)
        held = sum(map(len, self._held))
        while held - len(self._held[0]) >= _PADDING:
            held -= len(self._held[0])
            self._waiting.append(self._held.pop(0))

    def _release(self) -> None:
        """FFmpeg decodes all of an MP4's last packet, though its duration says where audio ends."""
        if self._mp4 and self._held and self._end is not None and self._start is not None:
            padding = self._done - round((self._end - self._start) * self.sample_rate)
            held = np.concatenate(self._held)
            if 0 < padding <= len(held):
                self._held = [held[: len(held) - padding]]
                self._done -= padding
        self._waiting += self._held
        self._held = []

    def close(self) -> None:
        self._container.close()


def _samples(frame: Any) -> Frames:
    """A decoded frame as ``[n, C]``."""
    array: npt.NDArray[Any] = frame.to_ndarray()
    channels = frame.layout.nb_channels
    array = array.T if frame.format.is_planar else array.reshape(-1, channels)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype.kind == "u":
        return (array.astype(np.float32) - 128) / np.float32(128)
    return array.astype(np.float32) * np.float32(2.0 ** (1 - 8 * array.dtype.itemsize))


def _opus_samples(packet: bytes) -> int:
    """The samples at 48 kHz of an Opus packet (RFC 6716, section 3.1)."""
    if len(packet) < 2:
        return 0
    kind = packet[0] >> 3
    if kind < 12:
        size = (480, 960, 1920, 2880)[kind & 3]
    elif kind < 16:
        size = (480, 960)[kind & 1]
    else:
        size = (120, 240, 480, 960)[kind & 3]
    frames = (1, 2, 2, packet[1] & 63)[packet[0] & 3]
    return size * frames
