"""What became of a file: the results of encoding, decoding and transcoding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from audiocodec.tokens import TokenFile, TokenHeader, TokenSource, TokenWriter
from audiocodec.tokens.header import FIXED
from audiocodec.tokens.rates import bitrate, mean_bitrate

if TYPE_CHECKING:
    from audiocodec.audio import AudioReader


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
        start: seconds of the source before the first that the target holds.
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
    start: float = 0.0
    peak: float = 0.0


def encoded(reader: AudioReader, writer: TokenWriter, elapsed: float) -> FileResult:
    """The result of an audio file that was read to its end and its finished token file."""
    seconds = reader.samples_read / reader.info.sample_rate
    return FileResult(
        source=reader.path,
        target=writer.path,
        seconds=seconds,
        num_samples=reader.samples_read,
        sample_rate=reader.info.sample_rate,
        channels=writer.header.channels,
        num_codebooks=writer.header.num_codebooks,
        bitrate=_bitrate(writer.header, writer.num_bytes, seconds),
        file_bytes=writer.num_bytes,
        elapsed=elapsed,
        truncated=reader.truncated,
        missing_seconds=reader.missing_seconds,
        peak=reader.peak,
    )


def rewritten(
    tokens: TokenFile, writer: TokenWriter, elapsed: float, num_samples: int | None = None
) -> FileResult:
    """The result of a token file that was rewritten from another one, whole by default."""
    num_samples = tokens.num_samples if num_samples is None else num_samples
    result = converted(
        tokens.path, writer.path, writer.header, num_samples, writer.num_bytes, elapsed
    )
    return replace(result, truncated=tokens.truncated)


def converted(
    source: Path,
    target: Path,
    header: TokenHeader,
    num_samples: int,
    file_bytes: int,
    elapsed: float,
) -> FileResult:
    """The result of a file of codes with this header that was made from another one."""
    seconds = num_samples / header.original_sample_rate
    return FileResult(
        source=source,
        target=target,
        seconds=seconds,
        num_samples=num_samples,
        sample_rate=header.original_sample_rate,
        channels=header.channels,
        num_codebooks=header.num_codebooks,
        bitrate=_bitrate(header, file_bytes, seconds),
        file_bytes=file_bytes,
        elapsed=elapsed,
    )


def bitrate_in_use(tokens: TokenSource, num_codebooks: int) -> float:
    """:attr:`FileResult.bitrate` of the first codebooks of a token file."""
    header = tokens.header
    if header.coding != FIXED:
        return mean_bitrate(tokens.num_bytes, tokens.seconds) or 0.0
    sizes = header.codebook_sizes[:num_codebooks]
    return bitrate(header.sample_rate, header.hop_length, sizes, header.channels)


def _bitrate(header: TokenHeader, file_bytes: int, seconds: float) -> float:
    """:attr:`FileResult.bitrate` of a file with this header."""
    if header.coding == FIXED:
        return header.bitrate
    return mean_bitrate(file_bytes, seconds) or 0.0
