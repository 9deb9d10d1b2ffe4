"""What became of a file: the results of encoding, decoding and transcoding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audiocodec.audio import AudioReader
from audiocodec.tokens import TokenFile, TokenSource, TokenWriter
from audiocodec.tokens.header import FIXED
from audiocodec.tokens.rates import bitrate, mean_bitrate


@dataclass(frozen=True)
class FileResult:
    """The result of one file.

    Attributes:
        seconds, num_samples: length of the audio, per channel at ``sample_rate``.
        bitrate: bits per second, all channels together: of the codes in use; of the whole file
            where its coding is not fixed, so that codes have no rate of their own.
        file_bytes: size of the token file.
        elapsed: seconds of work; in a batch, a share of the batch's.
        truncated: the source was cut short, and the target ends at the cut.
        reused: the codes were taken from the token file that existed before.
        missing_seconds: of audio behind the cut; 0 if that is unknown.
        peak: largest absolute sample that was encoded. Samples above 1 are clipped in decoding.
    """

    source: Path
    target: Path
    seconds: float
    num_samples: int
    sample_rate: int
    channels: int
    num_codebooks: int
    bitrate: float
    file_bytes: int
    elapsed: float
    truncated: bool = False
    reused: bool = False
    missing_seconds: float = 0.0
    peak: float = 0.0


def encoded(reader: AudioReader, writer: TokenWriter, elapsed: float) -> FileResult:
    """The result of an audio file that was read to its end and its finished token file."""
    return FileResult(
        source=reader.path,
        target=writer.path,
        seconds=reader.samples_read / reader.info.sample_rate,
        num_samples=reader.samples_read,
        sample_rate=reader.info.sample_rate,
        channels=writer.header.channels,
        num_codebooks=writer.header.num_codebooks,
        bitrate=_bitrate(writer, reader.samples_read / reader.info.sample_rate),
        file_bytes=writer.num_bytes,
        elapsed=elapsed,
        truncated=reader.truncated,
        missing_seconds=reader.missing_seconds,
        peak=reader.peak,
    )


def rewritten(tokens: TokenFile, writer: TokenWriter, elapsed: float) -> FileResult:
    """The result of a token file that was rewritten from another one."""
    header, seconds = writer.header, tokens.seconds
    return FileResult(
        source=tokens.path,
        target=writer.path,
        seconds=seconds,
        num_samples=tokens.num_samples,
        sample_rate=header.original_sample_rate,
        channels=header.channels,
        num_codebooks=header.num_codebooks,
        bitrate=_bitrate(writer, seconds),
        file_bytes=writer.num_bytes,
        elapsed=elapsed,
        truncated=tokens.truncated,
    )


def bitrate_in_use(tokens: TokenSource, num_codebooks: int) -> float:
    """:attr:`FileResult.bitrate` of the first codebooks of a token file."""
    header = tokens.header
    if header.coding != FIXED:
        return mean_bitrate(tokens.num_bytes, tokens.seconds) or 0.0
    sizes = header.codebook_sizes[:num_codebooks]
    return bitrate(header.sample_rate, header.hop_length, sizes, header.channels)


def _bitrate(writer: TokenWriter, seconds: float) -> float:
    """:attr:`FileResult.bitrate` of a finished file."""
    if writer.header.coding == FIXED:
        return writer.header.bitrate
    return mean_bitrate(writer.num_bytes, seconds) or 0.0
