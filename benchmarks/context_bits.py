"""How many bits the context model of a codec saves, by number of codebooks and by stage.

    python benchmarks/context_bits.py speech_16khz TEST_CLEAN_52

SPEECH is a folder of audio files, which are encoded, or of token files of MODEL with all of its
codebooks. The codes of all files are joined, and coded in blocks of three seconds, as those of one
long file.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch

from audiocodec.checkpoint import find_model, load_codec
from audiocodec.tokens.context import ContextModel
from audiocodec.tokens.rates import code_bits
from audiocodec.training.context.data import Recording, read_recordings

BLOCK_FRAMES = 150


def measure(
    context: ContextModel, recordings: Sequence[Recording], num_codebooks: int
) -> tuple[list[float], float]:
    """Bits of a code by stage, mean of all frames, and seconds of computing."""
    began = time.perf_counter()
    codes = np.concatenate([each.codes[:num_codebooks] for each in recordings], axis=1)
    codes = codes.astype(np.int64)
    frames = codes.shape[1]
    whole = frames // BLOCK_FRAMES * BLOCK_FRAMES
    blocks = codes[:, :whole].reshape(num_codebooks, -1, BLOCK_FRAMES).swapaxes(0, 1)
    bits = np.zeros(num_codebooks)
    for rows in (blocks, codes[None, :, whole:]):
        if rows.size:
            bits += context.bits(rows).sum(axis=(0, 2))
    return (bits / frames).tolist(), time.perf_counter() - began


@click.command(help=__doc__)
@click.argument("model")
@click.argument("speech", type=click.Path(exists=True, path_type=Path))
@click.option("--context", type=click.Path(path_type=Path), help="Another context.safetensors.")
@click.option("-n", "numbers", default="1,2,3,6,12", show_default=True)
def main(model: str, speech: Path, context: Path | None, numbers: str) -> None:
    torch.set_num_threads(1)
    loaded = ContextModel.load(context or find_model(model))
    with tempfile.TemporaryDirectory() as folder:
        recordings = read_recordings(speech, load_codec(model), Path(folder))
    seconds = sum(recording.codes.shape[1] for recording in recordings) / 50
    click.echo(f"context model {loaded.fingerprint}; {len(recordings)} channels, {seconds:.0f} s\n")
    click.echo("| codebooks | saved | bits of a code, by stage | seconds per minute of speech |")
    click.echo("| -- | -- | -- | -- |")
    for count in (int(number) for number in numbers.split(",")):
        bits, elapsed = measure(loaded, recordings, count)
        fixed = sum(code_bits(size) for size in loaded.codebook_sizes[:count])
        stages = " ".join(f"{value:.2f}" for value in bits)
        saved = 100 * (1 - sum(bits) / fixed)
        click.echo(f"| {count} | {saved:.1f} % | {stages} | {60 * elapsed / seconds:.2f} |")


if __name__ == "__main__":
    main()
