"""What a model's codebooks leave of its latents, and what others in their place would leave.

    python benchmarks/stages.py TRAIN/part0 VALIDATION

Places codebooks anew on the latents of the first folder and measures both on those of the second:
the energy that is left after some stages, in dB of what the latents vary by. If new ones leave much
less, the tables have not followed the encoder: place them again (`schedule.initialisation_steps`).
Beside them the least that any code of so many bits could leave of Gaussian latents of the same
covariance, frame by frame (reverse water-filling: Cover and Thomas, section 10.3.3). Speech is not
Gaussian, so the first stages may do better.
"""

from __future__ import annotations

import math
import random
from itertools import accumulate
from pathlib import Path

import click
import torch
from torch import Tensor
from tqdm import tqdm

from audiocodec import find_audio, load_codec
from audiocodec.audio import AudioReader
from audiocodec.codec import Codec
from audiocodec.quantization.residual import ResidualQuantizer, ResidualQuantizerConfig

BLOCK_SECONDS = 4.0
QUIETEST_DB = -50.0


@click.command()
@click.argument("train", type=click.Path(exists=True, path_type=Path))
@click.argument("held_out", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("--frames", default=100_000, show_default=True, help="Audible frames to place on.")
@click.option("--dims", default="", help="Dimensions of the new stages, e.g. 48,24,12.")
@click.option("--beam", default=4, show_default=True, help="Width of the wider search.")
@click.option("--threads", default=2, show_default=True)
@torch.inference_mode()
def main(
    train: Path, held_out: Path, model: str, frames: int, dims: str, beam: int, threads: int
) -> None:
    """Compare the codebooks of a model with new ones, TRAIN's frames, on those of HELD_OUT."""
    torch.set_num_threads(threads)
    codec = load_codec(model)
    placed_on, measured = latents_of(codec, train, frames), latents_of(codec, held_out)
    new = place(placed_on, with_dims(codec.config.quantizer, dims))
    new.fold()

    centred = measured - measured.mean(dim=0)
    variances = torch.linalg.eigvalsh(centred.T @ centred / len(centred)).clamp(min=1e-12)
    numbers = [k for k in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32) if k <= codec.num_codebooks]
    bits = list(accumulate(math.log2(size) for size in codec.codebook_sizes))
    new_dims = " ".join(str(stage.codebook.dim) for stage in new.stages)
    print(f"{codec.name} {codec.fingerprint}; new: {new_dims} dimensions, {len(placed_on)} frames")
    print(f"measured on {len(measured)} others\n")
    print(f"| codebooks | bits | as they are | beam {beam} | new | new, beam {beam} | Gaussian |")
    print("| --- " * 7 + "|")
    for number in tqdm(numbers, unit="row"):
        left = [
            energy_left(quantizer, measured, number, width) / float(variances.sum())
            for quantizer in (codec.quantizer, new)
            for width in (1, beam)
        ]
        left.append(gaussian_bound(variances, bits[number - 1]) / float(variances.sum()))
        row = " | ".join(f"{10 * math.log10(x):.2f}" for x in left)
        tqdm.write(f"| {number} | {bits[number - 1]:.0f} | {row} |")


def with_dims(config: ResidualQuantizerConfig, dims: str) -> ResidualQuantizerConfig:
    """The same quantiser with other dimensions, "48,24,12"; of an empty string, as it is."""
    numbers = [int(dim) for dim in dims.split(",")] if dims else config.dims
    return config.model_validate({**config.model_dump(), "dims": numbers})


def place(latents: Tensor, config: ResidualQuantizerConfig) -> ResidualQuantizer:
    """A quantiser of latents like ``[N, D]``, placed on them."""
    quantizer = ResidualQuantizer(latents.shape[1], config).eval()
    quantizer.initialise(latents, torch.Generator().manual_seed(0))
    return quantizer


def latents_of(
    codec: Codec, folder: Path, most: int | None = None, gain_db: tuple[float, float] = (0, 0)
) -> Tensor:
    """Of the audible frames below ``folder``, blocks taken evenly from all files: ``[N, D]``.

    Every block is scaled by a gain of its own, drawn evenly between two, and clipped.
    """
    files, rows = find_audio(folder), []
    share = None if most is None else -(-most // len(files))
    draw = random.Random(0)
    for file in tqdm(files, unit="file", desc=folder.name):
        taken = 0
        with AudioReader(file, codec.sample_rate) as reader:
            for block in reader.blocks(BLOCK_SECONDS):
                audio = torch.from_numpy(block[:1]).unsqueeze(0)
                whole = audio.shape[-1] // codec.hop_length
                if whole == 0:
                    break
                audio = audio[..., : whole * codec.hop_length]
                level = audio.view(whole, codec.hop_length).square().mean(dim=1).sqrt()
                gained = audio * 10 ** (draw.uniform(*gain_db) / 20)
                latents = codec.latents(gained.clamp(-1, 1))[0].T[:whole]
                rows.append(latents[level > 10 ** (QUIETEST_DB / 20)])
                taken += len(rows[-1])
                if share is not None and taken >= share:
                    break
    return torch.cat(rows)[:most]


def energy_left(quantizer: ResidualQuantizer, rows: Tensor, number: int, beam: int) -> float:
    """Mean over ``[N, D]`` of the squared distance to what ``number`` codebooks give."""
    total = 0.0
    for piece in rows.split(5000):
        latents = piece.T.unsqueeze(0)
        given = quantizer.decode(quantizer.encode(latents, number, beam))
        total += float((latents - given).square().sum())
    return total / len(rows)


def gaussian_bound(variances: Tensor, bits: float) -> float:
    """Least mean squared distance of a code of ``bits`` a vector: water level by bisection."""
    low, high = 1e-12, float(variances.max())
    for _ in range(100):
        level = (low * high) ** 0.5
        spent = 0.5 * float((variances / level).clamp(min=1).log2().sum())
        low, high = (level, high) if spent > bits else (low, level)
    return float(variances.clamp(max=high).sum())


if __name__ == "__main__":
    main()
