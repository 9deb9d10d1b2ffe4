"""Encode and decode one file, and measure the speed and the size of its token file."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from audiocodec.audio import load_audio
from audiocodec.evaluation.result import Evaluation
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.scoring import Pair
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import TokenFile, TokenWriter, token_header
from audiocodec.tokens.context.bits import bits_of_codes
from audiocodec.tokens.stats import count_codes

UNSAVED = "0" * 16  # the fingerprint in the token files of a codec that was never saved


def warm_up(codec: RuntimeCodec) -> None:
    """Encode and decode one second of silence. The first calls of torch are slow."""
    silence = torch.zeros(1, 1, codec.sample_rate, device=codec.device, dtype=codec.dtype)
    with torch.inference_mode():
        codec.decode(codec.encode(silence))


@contextmanager
def num_threads(threads: int) -> Iterator[None]:
    """Run PyTorch on ``threads`` CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def code_file(codec: RuntimeCodec, file: Path, evaluation: Evaluation) -> list[Pair[Row]]:
    """Encode and decode a file with each number of codebooks of ``evaluation``.

    Its codes are added to ``evaluation.code_counts``, and their bits to ``context_bits``.

    Returns:
        For each number of codebooks, the reconstruction ``[C, T]``, the reference at the codec's
        sample rate, and a row without scores.

    Raises:
        CodecError: the file cannot be read.
    """
    counts, beam = evaluation.num_codebooks, evaluation.beam
    reference, _ = load_audio(file, codec.sample_rate)
    channels, num_samples = reference.shape
    seconds = num_samples / codec.sample_rate
    audio = reference[:, None].to(codec.device, codec.dtype)
    encode = partial(codec.encode, beam=beam)
    all_codes, all_time = _timed(encode, audio, counts[-1])
    file_counts = count_codes(all_codes.numpy(), codec.codebook_sizes)
    for total, new in zip(evaluation.code_counts, file_counts, strict=True):
        total += new
    if evaluation.context_bits is not None and codec.context is not None:
        block_frames = token_header(codec, counts[-1], fingerprint=UNSAVED).block_frames
        bits = bits_of_codes(all_codes.numpy(), block_frames, codec.context)
        evaluation.context_bits += bits.sum(axis=(0, 2))
    pairs: list[Pair[Row]] = []
    for count in counts:
        codes, encode_time = all_codes[:, :count], all_time
        if beam > 1 and count < counts[-1]:  # the first codes of a wider search differ
            codes, encode_time = _timed(encode, audio, count)
        passed = _through_token_file(codec, codes, num_samples, evaluation.coding)
        codes, payload_bytes, file_bytes, write_time, read_time = passed
        decoded, decode_time = _timed(codec.decode, codes.to(codec.device), num_samples)
        row = Row(str(file), seconds, channels, num_codebooks=count)
        if num_samples:
            span = channels * seconds
            row.payload_kbps, row.file_kbps = 8e-3 * payload_bytes / span, 8e-3 * file_bytes / span
            row.encode_factor = (encode_time + write_time) / span
            row.decode_factor = (read_time + decode_time) / span
        reconstruction = decoded[:, 0].float().numpy()
        pairs.append(Pair(row, reconstruction, reference.numpy(), codec.sample_rate))
    return pairs


def _timed(
    step: Callable[[Tensor, int], Tensor], tensor: Tensor, argument: int
) -> tuple[Tensor, float]:
    """The result of ``codec.encode`` or ``codec.decode`` on the CPU, and the seconds it took."""
    start = time.perf_counter()
    with torch.inference_mode():
        result = step(tensor, argument).cpu()
    return result, time.perf_counter() - start


def _through_token_file(
    codec: RuntimeCodec, codes: Tensor, num_samples: int, coding: str
) -> tuple[Tensor, float, int, float, float]:
    """Write codes ``[C, K, F]`` to a token file in memory and read them back.

    Returns:
        The codes, the bytes that the codes take, the bytes of the whole file, and the seconds that
        writing and reading took.
    """
    started = time.perf_counter()
    channels, num_codebooks, _ = codes.shape
    fingerprint = codec.fingerprint or UNSAVED
    header = token_header(
        codec, num_codebooks, channels=channels, fingerprint=fingerprint, coding=coding
    )
    file = io.BytesIO()
    with TokenWriter(file, header, context=codec.context) as writer:
        writer.write(codes.numpy())
        writer.finish(num_samples)
    finished = time.perf_counter()
    with TokenFile(file, codec.context) as tokens:
        pieces = [torch.from_numpy(piece) for piece in tokens.pieces()] or [codes[:, :, :0]]
        times = finished - started, time.perf_counter() - finished
        return torch.cat(pieces, dim=2), tokens.payload_bytes, tokens.num_bytes, *times
