"""Encoding to a bitrate of real bytes: as many codebooks as fit into it."""

from __future__ import annotations

from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.files import encode_file
from audiocodec.progress import Progress
from audiocodec.results import FileResult
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens.header import FIXED

USUAL_SHARE = 0.75
"""Bytes of context coding as a share of those of fixed coding: where the search begins."""


def encode_to_bitrate(
    source: str | Path,
    target: str | Path,
    codec: RuntimeCodec,
    bits_per_second: float,
    progress: Progress | None = None,
    beam: int = 1,
    coding: str | None = None,
) -> FileResult:
    """Encode an audio file with the most codebooks whose file has at most ``bits_per_second``.

    With fixed coding the bitrate is that of the codes. With context coding it is that of the whole
    file, header included, so that the number of codebooks depends on what is said; the file is
    encoded a few times.

    Args:
        bits_per_second: for each channel.
        progress, beam, coding: as in :func:`~audiocodec.files.encode_file`.

    Raises:
        CodecError: as :func:`~audiocodec.files.encode_file`, or not even one codebook fits. Then
            ``target`` is not there.
    """
    coding = coding or codec.default_coding()
    if coding == FIXED:
        count = codec.codebooks_for_bitrate(bits_per_second)
        return encode_file(source, target, codec, count, progress, beam, coding=coding)
    usual = int(bits_per_second / (USUAL_SHARE * codec.bitrate(1)))
    count, most = max(1, min(usual, codec.num_codebooks)), codec.num_codebooks
    while True:
        result = encode_file(source, target, codec, count, progress, beam, coding=coding)
        progress = None  # the further tries are of the same audio
        rate = result.bitrate / result.channels
        if rate > bits_per_second:
            most = count - 1
            if most < 1:
                Path(target).unlink()
                raise CodecError(
                    f"{source}: one codebook takes {rate:.0f} bit/s, more than "
                    f"{bits_per_second:g}; allow more, or use --coding fixed"
                )
            count = min(most, max(1, int(count * bits_per_second / rate)))
        elif count < most and rate * (count + 1) / count <= bits_per_second:
            count += 1
        else:
            return result
