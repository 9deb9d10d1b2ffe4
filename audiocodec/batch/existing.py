"""Existing outputs: are they what their input would become?

Recordings are replaced, models and numbers of codebooks change. So headers, lengths and
modification times are compared: encoding a folder again reports every stale file that they show.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from pathlib import Path

import numpy as np
import torch

from audiocodec.audio import AudioReader
from audiocodec.batch.report import OutputDiffers
from audiocodec.errors import CodecError
from audiocodec.files import BLOCK_SECONDS
from audiocodec.results import FileResult
from audiocodec.runtime import RuntimeCodec
from audiocodec.streaming import StreamEncoder
from audiocodec.tokens import TokenFile, token_header
from audiocodec.tokens.context import ContextModel
from audiocodec.transcoding import rewrite

CHECK_SECONDS = 0.5
"""Length of the start of a recording that is encoded to see whether a beam chose its codes."""

Shape = tuple[int, int, int]
"""Sample rate, channels, samples per channel."""


def check_encoded(
    target: str | Path,
    codec: RuntimeCodec,
    num_codebooks: int | None,
    source: str | Path | None = None,
    coding: str | None = None,
) -> None:
    """Raise :class:`~audiocodec.batch.report.OutputDiffers` if the token file ``target`` is not
    what ``codec`` would write, as far as its header, its length and those of ``source`` show.

    ``num_codebooks`` may be ``None``: any number is right. ``coding`` is as in
    :func:`~audiocodec.files.encode_file`.

    Raises:
        CodecError: either file cannot be read.
    """
    with TokenFile(target, codec.context) as tokens:
        header, truncated = tokens.header, tokens.truncated
        shape = (header.original_sample_rate, header.channels, tokens.num_samples)
    change = source and _change(
        shape, _shape(source, shape[2]), target, source, "token", "recordings"
    )
    exists, held = "is there already, ", header.num_codebooks
    wanted = num_codebooks or held
    coding = coding or codec.default_coding(header.channels)
    if header.fingerprint != codec.fingerprint:
        of_model = f"of model {header.model} ({header.fingerprint})"
        found = (f"{exists}{of_model}", f"files are there already, {of_model}", "replaces {}")
    elif truncated:
        found = (f"{exists}cut short", "files are there already, cut short", "replaces {}")
    elif change:
        found = (*change, "encodes {} again")
    elif held < wanted:
        many = f"files hold {held} codebooks, {wanted} asked for"
        found = (f"{exists}with {held} codebooks", many, "replaces {}")
    elif held > wanted:
        numbers = f"{held} codebooks, {wanted} asked for"
        found = (f"holds {numbers}", f"files hold {numbers}", "cuts {} down")
    elif header.coding != coding:
        codings = f"{header.coding} coding, {coding} asked for"
        found = (f"has {codings}", f"files have {codings}", "rewrites {}")
    else:
        return
    raise OutputDiffers(target, *found)


def cut_codebooks(
    target: str | Path,
    source: str | Path,
    codec: RuntimeCodec,
    num_codebooks: int,
    coding: str | None = None,
) -> FileResult | None:
    """Rewrite ``target``, the token file of ``source``, with its first codebooks only, and in
    another coding; ``coding`` is as in :func:`~audiocodec.files.encode_file`.

    A greedy search chooses each codebook's codes from the codebooks before it, so the result is the
    file that encoding would make. That is not so for codes that a beam chose. A token file does not
    say how its codes were chosen, so the first half second of ``source`` is encoded and compared.

    Returns:
        ``None``, with ``target`` unchanged, if ``source`` has to be encoded instead.
    """
    started, context = time.perf_counter(), codec.context
    try:
        with TokenFile(target, context) as tokens:
            header, num_samples = tokens.header, tokens.num_samples
            coding = coding or codec.default_coding(header.channels)
            fewer = header.num_codebooks > num_codebooks
            other = header.num_codebooks == num_codebooks and header.coding != coding
            shape = (header.original_sample_rate, header.channels, num_samples)
            if (
                header.fingerprint != codec.fingerprint
                or not (fewer or other)
                or tokens.truncated
                or _change(shape, _shape(source, num_samples), target, source, "", "")
                or not _is_greedy(tokens, source, codec, num_codebooks)
            ):
                return None
            due = token_header(codec, num_codebooks, *shape[:2], coding=coding)
            result = rewrite(tokens, target, due, context)
    except CodecError:  # encoding replaces the target, or reports the error
        return None
    elapsed = time.perf_counter() - started
    return dataclasses.replace(result, source=Path(source), reused=True, elapsed=elapsed)


def _is_greedy(
    tokens: TokenFile, source: str | Path, codec: RuntimeCodec, num_codebooks: int
) -> bool:
    """Whether the tokens start with the codes that a greedy search chooses for ``source``."""
    encoder = StreamEncoder(codec, num_codebooks, tokens.header.channels)
    with AudioReader(source, codec.sample_rate) as reader:
        chunks = [
            encoder.push(torch.from_numpy(block).unsqueeze(1))
            for block in itertools.islice(reader.blocks(CHECK_SECONDS), 1)
        ]
    if tokens.num_frames <= CHECK_SECONDS * codec.frame_rate:
        chunks.append(encoder.flush())
    if not chunks:
        return False
    codes = torch.cat(chunks, dim=2).cpu().numpy()
    frames = codes.shape[2]
    if not frames:
        return not tokens.num_frames
    return bool(np.array_equal(codes, tokens.read(0, frames, num_codebooks)))


def check_decoded(
    target: str | Path, source: str | Path, context: ContextModel | None = None
) -> None:
    """Raise :class:`~audiocodec.batch.report.OutputDiffers` if the audio file ``target`` is older
    than the token file ``source``, or has another length, sample rate or number of channels.

    ``context`` is as in :class:`~audiocodec.tokens.TokenFile`.

    Raises:
        CodecError: either file cannot be read.
    """
    with TokenFile(source, context) as tokens:
        now = (tokens.header.original_sample_rate, tokens.header.channels, tokens.num_samples)
    if change := _change(_shape(target, now[2]), now, target, source, "audio", "token files"):
        raise OutputDiffers(target, *change, "decodes {} again")


def _shape(path: str | Path, expected: int) -> Shape:
    """The shape of an audio file. A header may only estimate the length, so the file is read to its
    end unless the header states ``expected`` samples."""
    with AudioReader(path) as reader:
        if reader.info.num_samples == expected:
            return reader.info.sample_rate, reader.info.channels, expected
        for _ in reader.blocks(BLOCK_SECONDS):
            pass
        return reader.info.sample_rate, reader.info.channels, reader.samples_read


def _change(
    old: Shape,
    new: Shape,
    target: str | Path,
    source: str | Path,
    targets: str,
    sources: str,
) -> tuple[str, str] | None:
    """How ``source`` has changed since ``target`` was made from it, for a line about one file and
    one about many; ``None`` if it has not."""
    change = ""
    if old[:2] != new[:2]:
        change = f"{old[0]} Hz, {old[1]} channels; now {new[0]} Hz, {new[1]} channels"
    elif old != new:
        change = f"{old[2] / old[0]:.2f} s, now {new[2] / new[0]:.2f} s"
    if change:
        one = f"made from an earlier {source} ({change})"
        return one, f"{targets} files were made from earlier {sources}"
    if os.stat(source).st_mtime_ns > os.stat(target).st_mtime_ns:
        return f"older than {source}", f"{targets} files are older than their {sources}"
    return None
