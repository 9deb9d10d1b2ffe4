"""Measure which share of each codebook is in use on held-out speech.

    python benchmarks/usage.py FOLDER... --model runs/tiny_65k/model

Encodes all files and counts the codes. A large codebook needs many frames: with ten per entry, even
use misses none of them, with two it misses 14 %.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch

from audiocodec import StreamEncoder, find_audio, load_codec
from audiocodec.audio import AudioReader
from audiocodec.tokens.stats import count_codes, perplexity, usage

BLOCK_SECONDS = 20.0


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("--hours", type=float, help="Stop after this many hours of speech.")
@click.option("--threads", default=2, show_default=True)
def main(folders: tuple[Path, ...], model: str, hours: float | None, threads: int) -> None:
    """Count the codes of all audio files in FOLDERS."""
    torch.set_num_threads(threads)
    codec = load_codec(model)
    totals = [np.zeros(size, np.int64) for size in codec.codebook_sizes]
    for file in (file for folder in folders for file in find_audio(folder)):
        with AudioReader(file, codec.sample_rate) as reader:
            encoder = StreamEncoder(codec, batch_size=reader.info.channels)
            for block in reader.blocks(BLOCK_SECONDS):
                codes = encoder.push(torch.from_numpy(block).unsqueeze(1))
                for total, new in zip(
                    totals, count_codes(codes.numpy(), codec.codebook_sizes), strict=True
                ):
                    total += new
        if hours is not None and totals[0].sum() >= 3600 * hours * codec.frame_rate:
            break
    frames = int(totals[0].sum())
    print(f"{codec.name} {codec.fingerprint}, {frames} frames\n")
    print("| codebook | entries | frames per entry | usage | perplexity |\n" + "| --- " * 5 + "|")
    for stage, counts in enumerate(totals, start=1):
        print(
            f"| {stage} | {len(counts)} | {frames / len(counts):.1f} | {usage(counts):.2%} "
            f"| {perplexity(counts):.0f} |"
        )


if __name__ == "__main__":
    main()
