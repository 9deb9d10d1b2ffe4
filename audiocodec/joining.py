"""Token files joined end to end. Audio is not touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.paths import check_distinct
from audiocodec.progress import Progress
from audiocodec.tokens import TokenFile, TokenHeader, TokenWriter
from audiocodec.tokens.context import ContextModel
from audiocodec.tokens.copying import copy_codes


@dataclass(frozen=True)
class JoinedPart:
    """Where a file stands in the file that it was joined into, in seconds.

    ``truncated``: it was cut short, and only what is before the cut is there.
    """

    source: Path
    start: float
    seconds: float
    truncated: bool


@dataclass(frozen=True)
class Joined:
    """The result of :func:`join_files`.

    Attributes:
        seconds, num_samples: length, per channel at ``sample_rate``.
        added: seconds that the parts together do not have: each part but the last is filled up to
            a whole frame.
    """

    target: Path
    parts: list[JoinedPart]
    seconds: float
    num_samples: int
    sample_rate: int
    channels: int
    num_codebooks: int
    coding: str
    added: float
    file_bytes: int


def join_files(
    sources: Sequence[str | Path],
    target: str | Path,
    context: ContextModel | None = None,
    progress: Progress | None = None,
) -> Joined:
    """Write the codes of several ``.tok`` files into one, in the coding of the first.

    The codes of each file stay the same. A file's last frame is kept whole, so at each join stands
    less than a frame of what the encoder padded it with, silence.

    Args:
        context: the context model that codes are coded with; a bundled one is found without.
        progress: called now and then with the seconds of audio since the last call.

    Raises:
        CodecError: no file, a bad one (missing, not a token file, damaged), one of another model,
            other codebooks, channels or another sample rate than the first, a target that is one of
            them, or that cannot be written.
    """
    if not sources:
        raise CodecError("there are no files to join")
    first: TokenFile | None = None
    for source in sources:  # all are looked at before any is written
        check_distinct(source, target)
        with TokenFile(source, context) as tokens:
            first = first or tokens
            check_alike(tokens, first)
    assert first is not None
    header = first.header
    parts: list[JoinedPart] = []
    total = 0
    with TokenWriter(target, header, context=context) as writer:
        for source in sources:
            start = writer.num_frames
            with TokenFile(source, context) as tokens:
                check_alike(tokens, first)
                copy_codes(tokens, writer, progress)
                last = tokens.num_samples
                place = start / header.frame_rate
                parts.append(JoinedPart(tokens.path, place, tokens.seconds, tokens.truncated))
                total += tokens.num_samples
        num_samples = header.fit_samples(header.num_samples(start) + last, writer.num_frames)
        writer.finish(num_samples)
    seconds = num_samples / header.original_sample_rate
    return Joined(
        target=writer.path,
        parts=parts,
        seconds=seconds,
        num_samples=num_samples,
        sample_rate=header.original_sample_rate,
        channels=header.channels,
        num_codebooks=header.num_codebooks,
        coding=header.coding,
        added=max(0, num_samples - total) / header.original_sample_rate,
        file_bytes=writer.num_bytes,
    )


def check_alike(tokens: TokenFile, first: TokenFile) -> None:
    """Raise :class:`CodecError` unless codes of one file may follow those of the other."""
    for described, remedy in ALIKE:
        mine, its = described(tokens.header), described(first.header)
        if mine != its:
            raise CodecError(f"{tokens.path}: has {mine}, and {first.path} has {its}; {remedy}")


ALIKE: tuple[tuple[Callable[[TokenHeader], str], str], ...] = (
    (lambda h: f"codes of model {h.model} ({h.fingerprint})", "encode both with one model"),
    (lambda h: f"{h.num_codebooks} codebooks", "codec transcode -n makes their number equal"),
    (lambda h: f"codebooks of {h.codebook_sizes} entries", "get the file again"),
    (lambda h: f"{h.channels} channels", "encode recordings with as many channels"),
    (lambda h: f"audio at {h.original_sample_rate} Hz", "encode recordings at one rate"),
)
"""What files that are joined have in common, and what to do where they have not."""
