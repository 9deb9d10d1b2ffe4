"""Speech for fitting and measuring codebooks: blocks of audio, and the latents of their frames."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from audiocodec import Codec, find_audio
from audiocodec.audio import AudioReader

BLOCK_SECONDS = 4.0
SILENCE_THRESHOLD_DB = -50.0
"""Frames of a lower RMS level, in dBFS, are left out."""


def audible_blocks(
    folder: Path, sample_rate: int, hop_length: int, most: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of the first channel of every file below ``folder``, and which frames are audible.

    Args:
        most: stop reading a file once it has given its even share of so many audible frames.

    Yields:
        audio float32 ``[1, 1, T]``, ``T`` a multiple of ``hop_length``, and a mask bool ``[F]``.
    """
    files = find_audio(folder)
    share = None if most is None else -(-most // len(files))
    for file in tqdm(files, unit="file", desc=folder.name):
        taken = 0
        with AudioReader(file, sample_rate) as reader:
            for block in reader.blocks(BLOCK_SECONDS):
                frames = block.shape[-1] // hop_length
                if frames == 0:
                    break
                audio = torch.from_numpy(block[:1, : frames * hop_length]).unsqueeze(0)
                rms = audio.view(frames, hop_length).square().mean(dim=1).sqrt()
                audible = rms > 10 ** (SILENCE_THRESHOLD_DB / 20)
                yield audio, audible
                taken += int(audible.sum())
                if share is not None and taken >= share:
                    break


@torch.no_grad()
def latents_of(
    codec: Codec, folder: Path, most: int | None = None, gain_db: tuple[float, float] = (0, 0)
) -> Tensor:
    """The latents of the audible frames below ``folder``, taken evenly from its files.

    Args:
        codec: in eval mode.
        most: how many frames to return at most.
        gain_db: each block is scaled by a gain drawn from this range, and clipped to [-1, 1].

    Returns:
        float32 ``[N, D]``.
    """
    rows, draw = [], random.Random(0)
    for audio, audible in audible_blocks(folder, codec.sample_rate, codec.hop_length, most):
        scaled = audio * 10 ** (draw.uniform(*gain_db) / 20)
        rows.append(codec.encoder(scaled.clamp(-1, 1))[0].T[audible])
    return torch.cat(rows)[:most]
