"""Sound over pipes: WAV or bare samples, read as they arrive and written as they are ready.

A pipe cannot seek. A WAV's header comes first and may not know how long the sound will be; then its
sizes are 0 or as large as they can be (ffmpeg, sox, arecord), and the sound lasts until the pipe
ends. What is written here without a known length says 0xFFFFFFFF, as ffmpeg does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from audiocodec.audio import AudioInfo, AudioReader, Samples, pcm_16
from audiocodec.errors import CodecError
from audiocodec.paths import writing

_UNKNOWN = 0xFFFFFFFF
_BARE_WAV = "pipe WAV with PCM or float samples (`ffmpeg -i ... -f wav -`), or name --raw RATE"


def _from_24_bits(data: bytes) -> npt.NDArray[Any]:
    padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
    padded[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
    return padded.view("<i4")[:, 0] / 2.0**31


# name -> bytes a sample, what makes them numbers in [-1, 1], WAV's format tag
SAMPLE_FORMATS: dict[str, tuple[int, Callable[[bytes], npt.NDArray[Any]], int]] = {
    "u8": (1, lambda data: np.frombuffer(data, np.uint8) / 128.0 - 1.0, 1),
    "s16le": (2, lambda data: np.frombuffer(data, "<i2") / 2.0**15, 1),
    "s24le": (3, _from_24_bits, 1),
    "s32le": (4, lambda data: np.frombuffer(data, "<i4") / 2.0**31, 1),
    "f32le": (4, lambda data: np.frombuffer(data, "<f4"), 3),
    "f64le": (8, lambda data: np.frombuffer(data, "<f8"), 3),
}


@dataclass(frozen=True)
class RawFormat:
    """Samples without a header: Hz, channels side by side, a key of :data:`SAMPLE_FORMATS`.

    Raises:
        CodecError: a rate or a number of channels below 1, or an unknown format.
    """

    sample_rate: int
    channels: int = 1
    sample_format: str = "s16le"

    def __post_init__(self) -> None:
        if self.sample_rate < 1 or self.channels < 1:
            raise CodecError(
                f"raw samples at {self.sample_rate} Hz in {self.channels} channels: both must be "
                "1 or more"
            )
        if self.sample_format not in SAMPLE_FORMATS:
            names = ", ".join(SAMPLE_FORMATS)
            raise CodecError(f"raw samples as `{self.sample_format}`: it is one of {names}")


class PipeReader(AudioReader):
    """An :class:`AudioReader` for a buffered binary stream, which it leaves open.

    A WAV, or, with ``raw``, samples alone. ``blocks`` gives each block as soon as its samples have
    arrived. ``info.num_samples`` is 0: nobody knows it yet. A stream that ends early has ended.

    Raises:
        CodecError: neither WAV nor named ``raw``, a WAV of compressed samples, NaN or infinity.
    """

    def __init__(
        self, stream: BinaryIO, sample_rate: int | None = None, raw: RawFormat | None = None
    ) -> None:
        self.path = Path("stdin")
        self._stream = stream
        self._bytes_left: int | None = None
        if raw is None:
            raw, self._bytes_left = _read_wav_header(stream, self.path)
        self._raw = raw
        self.info = AudioInfo(raw.sample_rate, raw.channels, 0)
        self.sample_rate = sample_rate or raw.sample_rate
        self.samples_read = 0

    def __exit__(self, *exception: object) -> None:
        """The stream belongs to the caller."""

    def _pieces(self) -> Iterator[Samples]:
        size, numbers, _ = SAMPLE_FORMATS[self._raw.sample_format]
        frame = size * self._raw.channels
        waiting = b""
        while data := self._read_some(self._raw.sample_rate * frame):
            waiting += data
            whole = len(waiting) - len(waiting) % frame
            samples = numbers(waiting[:whole]).astype(np.float32)
            waiting = waiting[whole:]
            yield self._checked(samples.reshape(-1, self._raw.channels))

    def _read_some(self, most: int) -> bytes:
        """What is there by now, at least a byte unless the sound has ended."""
        if self._bytes_left is not None:
            most = min(most, self._bytes_left)
        # `read1` of a buffered stream asks the pipe once and takes what it has.
        data: bytes = self._stream.read1(most)  # type: ignore[attr-defined]
        if self._bytes_left is not None:
            self._bytes_left -= len(data)
        return data


class PipeWriter:
    """16-bit sound written into an unbuffered binary stream, which it leaves open.

    ``with PipeWriter(stream, 16000, channels=2) as writer: writer.write(block)``

    A WAV, with true sizes where ``num_samples`` (per channel) is known and fits, or, if ``raw``,
    the samples alone.

    Raises:
        CodecError: NaN samples, disk full.
        BrokenPipeError: nobody reads any more.
    """

    def __init__(
        self,
        stream: BinaryIO,
        sample_rate: int,
        channels: int,
        num_samples: int | None = None,
        raw: bool = False,
    ) -> None:
        self.path = Path("stdout")
        self._stream = stream
        if not raw:
            self._put(_wav_header(sample_rate, channels, num_samples))

    def __enter__(self) -> PipeWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        """The stream belongs to the caller."""

    def write(self, audio: Samples) -> None:
        """Append float ``[C, n]`` in [-1, 1]; louder samples are clipped."""
        if not np.isfinite(audio).all():
            raise CodecError(f"{self.path}: a NaN or infinite sample was to be written")
        self._put(pcm_16(audio).astype("<i2").tobytes())

    def _put(self, data: bytes) -> None:
        with writing(self.path):
            while data:
                data = data[self._stream.write(data) :]


def _read_wav_header(stream: BinaryIO, path: Path) -> tuple[RawFormat, int | None]:
    """What follows, and how many bytes of it; ``None`` for until the end."""
    riff = stream.read(12)
    if riff[:4] not in (b"RIFF", b"RF64", b"BW64") or riff[8:] != b"WAVE":
        what = "is empty (0 bytes)" if not riff else "is not a WAV"
        raise CodecError(f"{path}: {what}; {_BARE_WAV}")
    raw = None
    while len(head := stream.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"data" and raw:
            # A live writer leaves 0, or close to the most that 31 or 32 bits hold.
            return raw, size if 0 < size < 2**31 - 2**16 else None
        if name == b"fmt " and 16 <= size < 2**16:
            fields = stream.read(size + size % 2)
            if len(fields) < size:
                break
            raw = _wav_format(fields, path)
            continue
        left = size + size % 2
        while left and (skipped := stream.read(min(left, 2**16))):
            left -= len(skipped)
    raise CodecError(f"{path}: its WAV header is damaged or cut short")


def _wav_format(fields: bytes, path: Path) -> RawFormat:
    """The samples that a WAV's `fmt ` chunk describes."""
    tag, channels, sample_rate, _, _, bits = struct.unpack_from("<HHIIHH", fields)
    if tag == 0xFFFE and len(fields) >= 26:  # extensible: the tag opens the subformat
        (tag,) = struct.unpack_from("<H", fields, 24)
    for name, (size, _, its_tag) in SAMPLE_FORMATS.items():
        if (tag, bits) == (its_tag, 8 * size):
            return RawFormat(sample_rate, channels, name)
    raise CodecError(f"{path}: a WAV of format {tag} with {bits} bits a sample; {_BARE_WAV}")


def _wav_header(sample_rate: int, channels: int, num_samples: int | None) -> bytes:
    """The 44 bytes before 16-bit samples."""
    frame = 2 * channels
    size = _UNKNOWN if num_samples is None else num_samples * frame
    riff = size + 36
    if riff >= _UNKNOWN:
        size = riff = _UNKNOWN
    rates = sample_rate, min(sample_rate * frame, _UNKNOWN), frame, 16
    fields = struct.pack("<HHIIHH", 1, channels, *rates)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16)
        + fields
        + struct.pack("<4sI", b"data", size)
    )
