"""What the codec makes of one recording: signals, codes, bits and errors, to be drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from audiocodec.audio import load_audio
from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics import ScoreError
from audiocodec.evaluation.metrics.log_mel import log_mel_errors, log_mel_hop
from audiocodec.files import check_model
from audiocodec.pictures import Coding, draw_coding
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import TokenFile, token_header
from audiocodec.tokens.context.bits import bits_of_codes
from audiocodec.tokens.header import SUFFIX, held_codebooks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_SECONDS = 0.02


def plot_file(
    source: str | Path,
    codec: RuntimeCodec,
    num_codebooks: int | None = None,
    *,
    reference: str | Path | None = None,
    start: float = 0.0,
    end: float | None = None,
) -> Figure:
    """A picture of what :func:`inspect_file` finds: ``plot_file(...).savefig("speech.png")``.

    Raises:
        CodecError: as :func:`inspect_file`, or matplotlib is not installed.
    """
    coding = inspect_file(source, codec, num_codebooks, reference=reference, start=start, end=end)
    return draw_coding(coding)


def inspect_file(
    source: str | Path,
    codec: RuntimeCodec,
    num_codebooks: int | None = None,
    *,
    reference: str | Path | None = None,
    start: float = 0.0,
    end: float | None = None,
) -> Coding:
    """Encode and decode an audio file, or decode a token file. The first channel is inspected.

    The whole file is coded, in memory, and what lies between ``start`` and ``end`` is returned.

    Args:
        source: audio, or a file whose name ends with ``.tok``.
        num_codebooks: codebooks to use; ``None`` for all, or for all that the token file has.
        reference: the recording that a token file was made of, if it is at hand.
        start, end: of the part, in seconds; to the file's end by default.

    Raises:
        CodecError: a file that cannot be read, tokens of another model, more codebooks than there
            are, a reference of an audio file, or a part outside the file.
    """
    source = Path(source)
    if source.suffix.lower() == SUFFIX:
        coding = _of_tokens(source, codec, num_codebooks, reference)
    elif reference is not None:
        raise CodecError(f"{source}: is audio and its own reference; a reference is for {SUFFIX}")
    else:
        coding = _of_audio(source, codec, num_codebooks)
    return with_errors(_part(coding, source, start, end))


def _of_audio(source: Path, codec: RuntimeCodec, num_codebooks: int | None) -> Coding:
    audio, _ = load_audio(source, codec.sample_rate)
    codes = codec.encode(audio[:1, None], codec.resolve_num_codebooks(num_codebooks))
    coding = _coding(source, codec, codes, audio.shape[1], len(audio))
    return replace(coding, reference=audio[0].numpy())


def _of_tokens(
    source: Path,
    codec: RuntimeCodec,
    num_codebooks: int | None,
    reference: str | Path | None,
) -> Coding:
    with TokenFile(source, codec.context) as tokens:
        check_model(tokens, codec)
        header = tokens.header
        count = held_codebooks(header, num_codebooks, source)
        codes = torch.from_numpy(tokens.read(num_codebooks=count)[:1])
        length = min(header.codec_samples(tokens.num_samples), codes.shape[2] * codec.hop_length)
        coding = _coding(source, codec, codes, length, header.channels, header.block_frames)
    if reference is None:
        return coding
    audio, _ = load_audio(reference, codec.sample_rate)
    seconds, expected = (samples / codec.sample_rate for samples in (audio.shape[1], length))
    if abs(seconds - expected) > LEAST_SECONDS:
        raise CodecError(
            f"{reference}: lasts {seconds:.2f} s, and {source} {expected:.2f} s; name the "
            "recording that the tokens were made of"
        )
    fitted = np.zeros(length, np.float32)
    fitted[: audio.shape[1]] = audio[0, :length]
    return replace(coding, reference=fitted)


def _coding(
    source: Path,
    codec: RuntimeCodec,
    codes: torch.Tensor,
    length: int,
    channels: int,
    block_frames: int = 0,
) -> Coding:
    """Codes ``[1, K, F]`` decoded, and their bits with each coding."""
    decoded = codec.decode(codes, length)[0, 0].float().cpu().numpy()
    array = codes.cpu().numpy()
    count, frames = array.shape[1:]
    header = token_header(codec, count, block_frames=block_frames, fingerprint="0" * 16)
    bits = {"fixed": np.full(frames, float(header.frame_bits))}
    if codec.context is not None:
        found = bits_of_codes(array, header.block_frames, codec.context)
        bits["context"] = found[0].sum(axis=0)
    name = source.name.encode("utf-8", "replace").decode()
    of_several = f", the first of {channels} channels" if channels > 1 else ""
    return Coding(
        title=f"{name}{of_several}: {codec.name}, codebooks: {count}",
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        codes=array[0],
        codebook_sizes=codec.codebook_sizes[:count],
        reconstruction=decoded,
        bits=bits,
    )


def _part(coding: Coding, source: Path, start: float, end: float | None) -> Coding:
    """The frames between ``start`` and ``end``, both rounded outwards to whole frames."""
    frame = coding.hop_length / coding.sample_rate
    seconds = len(coding.reconstruction) / coding.sample_rate
    end = seconds if end is None else min(end, seconds)
    if not 0 <= start < max(end, LEAST_SECONDS):
        raise CodecError(
            f"{source}: lasts {seconds:.2f} s; the part from {start:g} s to {end:g} s is empty"
        )
    first, last = math.floor(start / frame + 1e-6), math.ceil(end / frame - 1e-6)
    frames = slice(first, last)
    samples = slice(first * coding.hop_length, last * coding.hop_length)
    return replace(
        coding,
        start=first * frame,
        codes=coding.codes[:, frames],
        bits={name: values[frames] for name, values in coding.bits.items()},
        reconstruction=coding.reconstruction[samples],
        reference=None if coding.reference is None else coding.reference[samples],
    )


def with_errors(coding: Coding) -> Coding:
    """``coding`` with the error of each window, if there is a reference that is not silent."""
    if coding.reference is None:
        return coding
    try:
        errors = log_mel_errors(coding.reconstruction, coding.reference, coding.sample_rate)
    except ScoreError:  # silence
        return coding
    hop = log_mel_hop(coding.sample_rate) / coding.sample_rate
    return replace(coding, errors=errors, error_hop=hop)
