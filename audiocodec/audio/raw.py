"""Raw audio: samples without a header, and the formats that a sample may have.

This module imports neither NumPy nor PyTorch, because the command line lists the formats.
"""

from __future__ import annotations

from dataclasses import dataclass

from audiocodec.errors import CodecError


@dataclass(frozen=True)
class SampleFormat:
    """How one sample is stored, little-endian.

    Args:
        num_bytes: size of a sample.
        wav_tag: the format tag in a WAV's ``fmt`` chunk: 1 for integers, 3 for floats.
        is_float: IEEE floats in [-1, 1]; otherwise signed integers, or unsigned ones of one byte.
    """

    num_bytes: int
    wav_tag: int = 1
    is_float: bool = False


SAMPLE_FORMATS = {
    "u8": SampleFormat(1),
    "s16le": SampleFormat(2),
    "s24le": SampleFormat(3),
    "s32le": SampleFormat(4),
    "f32le": SampleFormat(4, wav_tag=3, is_float=True),
    "f64le": SampleFormat(8, wav_tag=3, is_float=True),
}
"""ffmpeg's name of the format -> how a sample is stored."""


@dataclass(frozen=True)
class RawFormat:
    """Format of a raw stream: sample rate in Hz, interleaved channels, sample format.

    ``sample_format`` is a key of :data:`SAMPLE_FORMATS`.

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

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of one channel."""
        return SAMPLE_FORMATS[self.sample_format].num_bytes

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.sample_bytes * self.channels
