"""Outputs that are there already: are they what their input would become?

Recordings are replaced, models and numbers of codebooks change. What can be seen from headers,
lengths and times is compared, so that a folder which is encoded again has no stale files unsaid.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import numpy as np
import torch

from audiocodec.audio import AudioReader
from audiocodec.batch.jobs import OutputDiffers
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.files import BLOCK_SECONDS, FileResult, token_header
from audiocodec.streaming import StreamEncoder
from audiocodec.tokens.file import TokenFile, TokenWriter

CHECK_SECONDS = 0.5
"""Of a recording that is encoded to see how the codes of its token file were chosen."""

Shape = tuple[int, int, int]
"""Sample rate, channels, samples per channel."""


def check_done(
    target: str | Path, codec: Codec, num_codebooks: int, source: str | Path | None = None
) -> None:
    """Raise :class:`~audiocodec.batch.jobs.OutputDiffers` unless ``target`` is what ``codec`` would
    write, as far as a look at its header, its length and those of ``source`` can say.

    Raises:
        CodecError: either file cannot be read.
    """
    with TokenFile(target) as tokens:
        header, truncated = tokens.header, tokens.truncated
        shape = (header.original_sample_rate, header.channels, tokens.num_samples)
    change = source and _change(
        shape, _shape(source, shape[2]), target, source, "token", "recordings"
    )
    there, held = "is there already, ", header.num_codebooks
    if header.fingerprint != codec.fingerprint:
        of_model = f"of model {header.model} ({header.fingerprint})"
        found = (f"{there}{of_model}", f"files are there already, {of_model}", "replaces {}")
    elif truncated:
        found = (f"{there}cut short", "files are there already, cut short", "replaces {}")
    elif change:
        found = (*change, "encodes {} again")
    elif held < num_codebooks:
        asked = f"files hold {held} codebooks, {num_codebooks} asked for"
        found = (f"{there}with {held} codebooks", asked, "replaces {}")
    elif held > num_codebooks:
        asked = f"{held} codebooks, {num_codebooks} asked for"
        found = (f"holds {asked}", f"files hold {asked}", "cuts {} down")
    else:
        return
    raise OutputDiffers(target, *found)


def cut_codebooks(
    target: str | Path, source: str | Path, codec: Codec, num_codebooks: int
) -> FileResult | None:
    """Write ``target``, the token file of ``source``, anew with its first codebooks only.

    Each greedy choice depends on the codebooks before it alone, so the result is the file that
    encoding would make. Codes that a beam chose are not: a file does not say how its codes were
    chosen, so its first half second is encoded and compared.

    Returns:
        ``None``, with ``target`` as it was, if ``source`` has to be encoded for that.
    """
    started = time.perf_counter()
    try:
        with TokenFile(target) as tokens:
            header, num_samples = tokens.header, tokens.num_samples
            shape = (header.original_sample_rate, header.channels, num_samples)
            if (
                header.fingerprint != codec.fingerprint
                or header.num_codebooks <= num_codebooks
                or tokens.truncated
                or _change(shape, _shape(source, num_samples), target, source, "", "")
                or not _is_greedy(tokens, source, codec, num_codebooks)
            ):
                return None
            codes = tokens.read(num_codebooks=num_codebooks)
    except CodecError:  # which encoding will meet, or replace
        return None
    header = token_header(codec, num_codebooks, *shape[:2])
    with TokenWriter(target, header) as writer:
        writer.write(codes)
        writer.finish(num_samples)
    return FileResult(
        source=Path(source),
        target=writer.path,
        seconds=num_samples / header.original_sample_rate,
        num_samples=num_samples,
        sample_rate=header.original_sample_rate,
        channels=header.channels,
        num_codebooks=num_codebooks,
        bitrate=header.bitrate,
        file_bytes=writer.num_bytes,
        elapsed=time.perf_counter() - started,
        reused=True,
    )


def _is_greedy(tokens: TokenFile, source: str | Path, codec: Codec, num_codebooks: int) -> bool:
    """Whether the tokens begin with the codes that ``codec`` gives for ``source``."""
    encoder = StreamEncoder(codec, num_codebooks, tokens.header.channels)
    with AudioReader(source, codec.sample_rate) as reader:
        pieces = [
            encoder.push(torch.from_numpy(block).unsqueeze(1))
            for block in itertools.islice(reader.blocks(CHECK_SECONDS), 1)
        ]
    if tokens.num_frames <= CHECK_SECONDS * codec.frame_rate:
        pieces.append(encoder.flush())
    if not pieces:
        return False
    codes = torch.cat(pieces, dim=2).cpu().numpy()
    frames = codes.shape[2]
    if not frames:
        return not tokens.num_frames
    return bool(np.array_equal(codes, tokens.read(0, frames, num_codebooks)))


def check_decoded(target: str | Path, source: str | Path) -> None:
    """Raise :class:`~audiocodec.batch.jobs.OutputDiffers` if the audio file ``target`` has another
    length or shape than the token file ``source``, or is older.

    Raises:
        CodecError: either file cannot be read.
    """
    with TokenFile(source) as tokens:
        now = (tokens.header.original_sample_rate, tokens.header.channels, tokens.num_samples)
    if change := _change(_shape(target, now[2]), now, target, source, "audio", "token files"):
        raise OutputDiffers(target, *change, "decodes {} again")


def _shape(path: str | Path, expected: int) -> Shape:
    """Of an audio file, which is read whole if it may not hold ``expected`` samples: headers may
    only estimate."""
    with AudioReader(path) as reader:
        if reader.info.num_samples == expected:
            return reader.info.sample_rate, reader.info.channels, expected
        for _ in reader.blocks(BLOCK_SECONDS):
            pass
        return reader.info.sample_rate, reader.info.channels, reader.samples_read


def _change(
    then: Shape,
    now: Shape,
    target: str | Path,
    source: str | Path,
    targets: str,
    sources: str,
) -> tuple[str, str] | None:
    """What says that ``source`` was replaced since ``target`` was made: of one file, of many."""
    change = ""
    if then[:2] != now[:2]:
        change = f"{then[0]} Hz, {then[1]} channels; now {now[0]} Hz, {now[1]} channels"
    elif then != now:
        change = f"{then[2] / then[0]:.2f} s, now {now[2] / now[0]:.2f} s"
    if change:
        made = f"made from an earlier {source} ({change})"
        return made, f"{targets} files were made from earlier {sources}"
    if os.stat(source).st_mtime_ns > os.stat(target).st_mtime_ns:
        return f"older than {source}", f"{targets} files are older than their {sources}"
    return None
