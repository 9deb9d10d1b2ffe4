"""A part of a token file as a file of its own, exact to the frame. Audio is not touched."""

from __future__ import annotations

import dataclasses
import math
import time
from fractions import Fraction
from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.paths import check_distinct
from audiocodec.progress import Progress
from audiocodec.results import FileResult, rewritten
from audiocodec.tokens import TokenFile, TokenWriter
from audiocodec.tokens.context import ContextModel
from audiocodec.tokens.copying import copy_codes


@dataclasses.dataclass(frozen=True)
class Part:
    """Frames ``start`` to ``stop`` of a token file, and the samples that they hold."""

    start: int
    stop: int
    num_samples: int


def find_part(tokens: TokenFile, start: float = 0.0, end: float | None = None) -> Part:
    """The frames that hold seconds ``start`` to ``end`` of a file.

    ``start`` is rounded down to the beginning of a frame and ``end`` up to the end of one, so that
    all that was asked for is there. A number that lies on a frame's edge stays as it is written:
    0.14 s of 50 frames per second are seven frames, not eight.

    Args:
        end: ``None``, or more than the file holds, for its end.

    Raises:
        CodecError: ``start`` is not in the file, or ``end`` is not behind it.
    """
    header, rate = tokens.header, Fraction(tokens.header.sample_rate, tokens.header.hop_length)
    if not (math.isfinite(start) and 0 <= start < tokens.seconds):
        raise CodecError(
            f"{tokens.path}: holds {tokens.seconds:.2f} s; a start of {start:g} s is not in it"
        )
    if end is not None and not end > start:
        raise CodecError(f"{tokens.path}: an end of {end:g} s is not behind the start, {start:g} s")
    first = math.floor(Fraction(str(start)) * rate)
    stop = tokens.num_frames
    if end is not None and math.isfinite(end):
        stop = min(stop, math.ceil(Fraction(str(end)) * rate))
    until = tokens.num_samples if stop == tokens.num_frames else header.num_samples(stop)
    num_samples = until - header.num_samples(first)
    return Part(first, stop, header.fit_samples(num_samples, stop - first))


def trim_file(
    source: str | Path,
    target: str | Path,
    start: float = 0.0,
    end: float | None = None,
    context: ContextModel | None = None,
    progress: Progress | None = None,
) -> FileResult:
    """Write the frames of a ``.tok`` file that hold seconds ``start`` to ``end`` to another one.

    Codes and coding stay the same. The result's ``start`` and ``seconds`` say what was kept. The
    target appears whole or not at all. The result has ``truncated`` set where the part ends at the
    cut of a file that was cut short.

    Args:
        start, end: as in :func:`find_part`.
        context: the context model that the codes are coded with; a bundled one is found without.
        progress: called now and then with the seconds of audio since the last call.

    Raises:
        CodecError: a bad source (missing, not a token file, damaged), a part that is not in it, or
            a target that cannot be written.
    """
    started = time.perf_counter()
    check_distinct(source, target)
    with TokenFile(source, context) as tokens:
        part = find_part(tokens, start, end)
        with TokenWriter(target, tokens.header, context=context) as writer:
            copy_codes(tokens, writer, progress, part.start, part.stop)
            writer.finish(part.num_samples)
        elapsed = time.perf_counter() - started
        result = rewritten(tokens, writer, elapsed, part.num_samples)
        return dataclasses.replace(
            result,
            start=part.start / tokens.header.frame_rate,
            truncated=tokens.truncated and part.stop == tokens.num_frames,
        )
