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

from audiocodec.audio.aiff import aiff_parts
from audiocodec.audio.aiff import matches as is_aiff
from audiocodec.audio.other import marked_parts
from audiocodec.audio.parts import JoinedSource, Part, PartFile
from audiocodec.audio.source import (
    AudioFormat,
    ContinuationError,
    DamagedError,
    Samples,
    Source,
)
from audiocodec.audio.streams import AudioInput
from audiocodec.errors import CodecError
from audiocodec.extras import import_extra

_PADDING = 4096
"""Samples: the most that an encoder adds at the end."""
_SLACK_SECONDS = 0.25
"""A file may be this much shorter than it states before it counts as cut short."""

_MAGICS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x30\x26\xb2\x75",  # ASF: WMA
    *(b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9"),  # AAC in ADTS
    *(b"#!AMR", b"wvpk", b"OggS", b"caff", b"FLV\x01", b"FORM"),
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # MP4, QuickTime


def matches(file: AudioInput) -> bool:
    """Whether FFmpeg may decode a file.

    The list is short on purpose: FFmpeg also opens playlists, which name other files and addresses.
    """
    return file.head.startswith(_MAGICS) or file.head[4:8] in _BOXES


def open_media(file: AudioInput) -> Source:
    """The first audio stream of a media file, or of several that were joined.

    Raises:
        CodecError: PyAV is not installed, no audio, or nothing that FFmpeg can read.
    """
    stream = file.seekable_file()
    parts = aiff_parts(file) if is_aiff(file) else marked_parts(file)
    return JoinedSource(parts, lambda part: MediaSource(stream, part, file.name))


MEDIA = AudioFormat((".m4a", ".mp4", ".aac", ".webm", ".mka", ".wma", ".amr"), matches, open_media)


class MediaSource(Source):
    """The first audio stream of one part of a file.

    Raises:
        CodecError: as :func:`open_media`.
    """

    def __init__(self, file: BinaryIO, part: Part, name: Path) -> None:
        self._av: Any = import_extra("av", "av", f"{name}: audio of this kind")
        self._view = PartFile(file, part)
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
        """Decode the first frame, which knows more than the header, and what has to be trimmed."""
        if not self._container.streams.audio:
            raise CodecError(f"{name}: holds no audio")
        stream = self._container.streams.audio[0]
        self._end: Fraction | None = None
        self._opus = "opus" in stream.codec_context.name
        self._opus_packet_samples = 0
        self._frames = self._decode(stream)
        first = next(self._frames, None)
        shape = first or stream.codec_context
        self._mp4 = "mp4" in self._container.format.name
        self._stated = self._stated_length(stream, shape.sample_rate)
        super().__init__(shape.sample_rate, shape.layout.nb_channels, self._stated or 0)
        self._start = first.pts * first.time_base if first and first.pts is not None else None
        self._num_decoded = 0
        self._held: list[Samples] = []  # the last samples, which may be padding
        self._ready: list[Samples] = []
        self._skip = 0
        if first:
            if self._opus:
                self._skip = self._opus_skip(stream, first)
            if self._start is not None:
                self._start += Fraction(self._skip, self.sample_rate)
                if abs(self._start) < first.time_base:  # a rounding error
                    self._start = Fraction(0)
            self._hold(_samples(first))

    def _opus_skip(self, stream: Any, first: Any) -> int:
        """Samples of the first frame to drop. FFmpeg drops too few if the Opus was made from less
        than 48 kHz."""
        pre_skip = int.from_bytes((stream.codec_context.extradata or b"")[10:12], "little")
        return max(0, pre_skip - (self._opus_packet_samples - first.samples))

    def _decode(self, stream: Any) -> Iterator[Any]:
        """The stream's frames. ``_end`` becomes the time at which the last packet ends."""
        for packet in self._container.demux(stream):
            if packet.pts is not None and packet.duration:
                self._end = (packet.pts + packet.duration) * packet.time_base
            if self._opus:
                self._opus_packet_samples += _opus_samples(bytes(packet))
            yield from packet.decode()

    def _stated_length(self, stream: Any, sample_rate: int) -> int | None:
        """Samples per channel that the file states, if its format has a reliable number."""
        duration = None
        if self._mp4 and stream.duration:
            duration = stream.duration * stream.time_base
        elif "matroska" in self._container.format.name and len(self._container.streams) == 1:
            duration = (self._container.duration or 0) / self._av.time_base
        return round(duration * sample_rate) if duration else None

    def read(self, size: int) -> Samples:
        ended = False
        while not ended and sum(map(len, self._ready)) < size:
            frame = self._next_frame()
            ended = frame is None
            if frame is not None:
                self._hold(_samples(frame))
        if ended:
            self._release()
        joined = np.concatenate([np.zeros((0, self.channels), np.float32), *self._ready])
        self._ready = [joined[size:]] if len(joined) > size else []
        if not len(joined) and self._stated:
            self.missing_samples = max(0, self._stated - self._num_decoded)
            self.truncated = self.missing_samples > _SLACK_SECONDS * self.sample_rate
        return joined[:size]

    def _next_frame(self) -> Any:
        try:
            frame = next(self._frames, None)
        except self._av.FFmpegError as error:
            raise self._view.failure or DamagedError(error.strerror) from None
        if self._view.failure:
            raise self._view.failure
        if frame is not None:
            rate, channels = frame.sample_rate, frame.layout.nb_channels
            if (rate, channels) != (self.sample_rate, self.channels):
                raise ContinuationError(
                    f"the audio goes on with {channels} channels at {rate} Hz", "convert it to WAV"
                )
        return frame

    def _hold(self, samples: Samples) -> None:
        """Keep the last samples back until it is known whether they are padding."""
        dropped = min(self._skip, len(samples))
        samples = samples[dropped:]
        self._skip -= dropped
        self._num_decoded += len(samples)
        self._held.append(samples)
        held = sum(map(len, self._held))
        while held - len(self._held[0]) >= _PADDING:
            held -= len(self._held[0])
            self._ready.append(self._held.pop(0))

    def _release(self) -> None:
        """Release the last samples. FFmpeg decodes all of an MP4's last packet; the samples beyond
        the packet's duration are dropped."""
        if self._mp4 and self._held and self._end is not None and self._start is not None:
            padding = self._num_decoded - round((self._end - self._start) * self.sample_rate)
            held = np.concatenate(self._held)
            if 0 < padding <= len(held):
                self._held = [held[: len(held) - padding]]
                self._num_decoded -= padding
        self._ready += self._held
        self._held = []

    def close(self) -> None:
        self._container.close()


def _samples(frame: Any) -> Samples:
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
