"""Shared by the speed benchmarks: speech to measure on, and CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from audiocodec import Codec, StreamDecoder, StreamEncoder, find_audio, load_audio
from audiocodec.bundled import CLIPS
from audiocodec.files import BLOCK_SECONDS


def speech(seconds: float, sample_rate: int) -> Tensor:
    """The bundled clips, concatenated and repeated to a length of ``seconds``: ``[1, 1, T]``."""
    clips = torch.cat([load_audio(file, sample_rate)[0][0] for file in find_audio(CLIPS)])
    length = round(seconds * sample_rate)
    return clips.repeat(-(-length // len(clips)))[None, None, :length]


def cpu_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """CPU time of the fastest of ``repeats`` runs, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def pushes(codec: Codec, audio: Tensor, seconds: float) -> tuple[list[tuple[float, float]], Tensor]:
    """CPU seconds ``(encode, decode)`` of each chunk of ``seconds``; and the codes."""
    encoder, decoder, times, codes = StreamEncoder(codec), StreamDecoder(codec), [], []
    for chunk in audio.split(round(seconds * codec.sample_rate), dim=-1):
        start = time.process_time()
        codes.append(encoder.push(chunk))
        middle = time.process_time()
        decoder.push(codes[-1])
        times.append((middle - start, time.process_time() - middle))
    return times, torch.cat(codes, dim=-1)


def gemm_rate(size: int = 1024) -> float:
    """Floating-point operations per second of a square matrix product in float32."""
    a, b, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
    return 2 * size**3 / cpu_seconds(lambda: torch.mm(a, b, out=out))


def in_blocks(codec: Codec, audio: torch.Tensor) -> torch.Tensor:
    """Encode audio ``[1, 1, T]`` in blocks, as `encode_file` does."""
    encoder = StreamEncoder(codec)
    blocks = audio.split(round(BLOCK_SECONDS * codec.sample_rate), dim=-1)
    return torch.cat([*(encoder.push(block) for block in blocks), encoder.flush()], dim=-1)


def out_blocks(codec: Codec, codes: torch.Tensor) -> torch.Tensor:
    """Decode codes ``[1, K, F]`` in blocks, as `decode_file` does."""
    decoder = StreamDecoder(codec)
    blocks = codes.split(round(BLOCK_SECONDS * codec.frame_rate), dim=-1)
    return torch.cat([*(decoder.push(block) for block in blocks), decoder.flush()], dim=-1)
