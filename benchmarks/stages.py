"""Measure what the codebooks of models leave of the latents, stage by stage.

    python benchmarks/stages.py VALIDATION --model runs/mine/model --model runs/initialised/model

Prints the energy that is left after some stages, in dB relative to the variance of the latents: for
a greedy search, for a beam search, and for the best possible code of Gaussian latents with the same
covariance and as many bits per frame (reverse water-filling: Cover and Thomas, Elements of
Information Theory, section 10.3.3). Speech is not Gaussian, so the first stages may do better.

To see whether the codebooks of a model still fit its encoder, compare it with the same model after
`tools/initialise_codebooks.py`. If much less energy is left there, the codebooks need to be
initialised more often or later in training (`schedule.initialisation_steps`).
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

import click
import torch
from torch import Tensor

from audiocodec import CodecError, load_codec
from audiocodec.checkpoint import load_trainable

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
from latents import audible_blocks


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--model", "models", multiple=True, default=["speech_16khz"], show_default=True)
@click.option("--beam", default=4, show_default=True, help="Width of the beam search.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
def main(folder: Path, models: tuple[str, ...], beam: int, threads: int) -> None:
    """Measure what the codebooks of each model leave of the latents of the speech in FOLDER."""
    torch.set_num_threads(threads)
    for model in models:
        print(table(model, folder, beam), flush=True)


@torch.inference_mode()
def table(model: str, folder: Path, beam: int) -> str:
    """The table of one model, as Markdown."""
    codec, trainable = load_codec(model), load_trainable(model).eval()
    numbers = [k for k in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32) if k <= codec.num_codebooks]
    left: dict[tuple[int, int], float] = defaultdict(float)
    rows = []
    for audio, audible in audible_blocks(folder, codec.sample_rate, codec.hop_length):
        latents = trainable.encoder(audio)
        rows.append(latents[0].T[audible])
        for number in numbers:
            for width in (1, beam):
                quantized = trainable.quantizer.decode(codec.encode(audio, number, width))
                error = (latents - quantized).square().sum(dim=1)[0]
                left[number, width] += float(error[audible].sum())
    count, variances = covariance_spectrum(torch.cat(rows))
    variance = float(variances.sum())
    bits = list(accumulate(math.log2(size) for size in codec.codebook_sizes))
    lines = [
        f"\n{codec.name} {codec.fingerprint}, {count} frames\n",
        f"| codebooks | bits | greedy | beam {beam} | Gaussian bound |",
        "| --- " * 5 + "|",
    ]
    for number in numbers:
        energies = [left[number, width] / count for width in (1, beam)]
        energies.append(gaussian_bound(variances, bits[number - 1]))
        cells = " | ".join(f"{10 * math.log10(energy / variance):.2f}" for energy in energies)
        lines.append(f"| {number} | {bits[number - 1]:.0f} | {cells} |")
    return "\n".join(lines)


def covariance_spectrum(rows: Tensor) -> tuple[int, Tensor]:
    """How many latents ``[N, D]`` there are, and the eigenvalues ``[D]`` of their covariance."""
    centred = rows - rows.mean(dim=0)
    return len(rows), torch.linalg.eigvalsh(centred.T @ centred / len(rows)).clamp(min=1e-12)


def gaussian_bound(variances: Tensor, bits: float) -> float:
    """The least mean squared error of any code with ``bits`` per vector, for Gaussian vectors.

    Finds the water level by bisection.

    Args:
        variances: of independent dimensions, ``[D]``.
    """
    low, high = 1e-12, float(variances.max())
    for _ in range(100):
        level = (low * high) ** 0.5
        spent = 0.5 * float((variances / level).clamp(min=1).log2().sum())
        low, high = (level, high) if spent > bits else (low, level)
    return float(variances.clamp(max=high).sum())


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
