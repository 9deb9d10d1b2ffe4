"""Compare all quantisers on fixed latents of real speech.

    python benchmarks/quantizers.py --data FOLDER --size 256 --size 1024 --stages 1 --stages 8

Every quantiser is initialised on the same training frames and trained on them: Adam on the codebook
losses, and moving averages where it has them. Then it codes the held-out frames, which are the last
ones. Prints a table of means over the seeds: distortion in dB relative to the variance of the
latents (less is better), with the range over the seeds; usage and perplexity, means over the
stages; held-out frames per entry (below ten, the usage of a large codebook means little); seconds
for initialisation, for training, and for coding the held-out frames.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from torch import Tensor

from audiocodec import find_audio, load_audio
from audiocodec.checkpoint import find_model, fingerprint, load_trainable
from audiocodec.paths import replacing
from audiocodec.quantization.family import codebook_config
from audiocodec.quantization.fsq import PUBLISHED_LEVELS
from audiocodec.quantization.residual import ResidualQuantizer, ResidualQuantizerConfig
from audiocodec.spectral import mel_from_magnitude, stft_magnitude
from audiocodec.tokens.stats import count_codes, perplexity, usage

SAMPLE_RATE = 16_000
HOP_LENGTH = 320
SILENCE_RMS = 10 ** (-50 / 20)
CODING_FRAMES = 2000
MEMBERS: dict[str, dict[str, Any]] = {
    "vq": {"kind": "vq"},
    "vq-default": {"kind": "vq", "initialisation": "random"},
    "ema_vq": {"kind": "ema_vq"},
    "ema_vq-no-reset": {"kind": "ema_vq", "reset_threshold": 0.0},
    "simvq": {"kind": "simvq"},
    "simvq-default": {"kind": "simvq", "initialisation": "random"},
    "simvq-whitened": {"kind": "simvq", "initialisation": "whitened"},
    "simvq-diagonal": {"kind": "simvq", "transform": "diagonal"},
    "simvq-orthogonal": {"kind": "simvq", "transform": "orthogonal"},
    "simvq-both": {"kind": "simvq", "learn": "codebook_and_transform"},
    "simvq-reset": {"kind": "simvq", "reset_threshold": 0.02},
    "fsq": {"kind": "fsq"},
    "fsq-tanh": {"kind": "fsq", "bound": "tanh"},
}


class Result(NamedTuple):
    """Of one quantiser, one size, one number of stages and one seed."""

    distortion: float
    usage: float
    perplexity: float
    initialisation_seconds: float
    training_seconds: float
    coding_seconds: float


def mel_latents(audio: Tensor) -> Tensor:
    """Log-mel frames of audio ``[1, T]``: ``[F, 80]``."""
    mel = mel_from_magnitude(stft_magnitude(audio, 1024, HOP_LENGTH), SAMPLE_RATE, 80)
    return mel.clamp(min=1e-5).log()[0].T


def audible(audio: Tensor) -> Tensor:
    """Which complete frames of audio ``[1, T]`` are not close to silence: bool ``[F]``."""
    hops = audio[0, : audio.shape[1] // HOP_LENGTH * HOP_LENGTH].unflatten(0, (-1, HOP_LENGTH))
    return hops.square().mean(dim=1).sqrt() > SILENCE_RMS


@torch.no_grad()
def read_latents(folder: Path, kind: str, model: str, seconds: float) -> Tensor:
    """Latents ``[N, D]`` of the audible frames of the first ``seconds`` of speech in ``folder``."""
    codec = load_trainable(model).eval() if kind == "encoder" else None
    frames: list[Tensor] = []
    wanted = round(seconds * SAMPLE_RATE / HOP_LENGTH)
    for path in find_audio(folder):
        whole = load_audio(path, SAMPLE_RATE)[0][:1]
        for audio in whole.split(10 * SAMPLE_RATE, dim=1):
            loud = audible(audio)
            whole_frames = audio[:, : len(loud) * HOP_LENGTH]
            if len(loud):
                latents = codec.encoder(whole_frames[None])[0].T if codec else mel_latents(audio)
                frames.append(latents[: len(loud)][loud])
        wanted -= whole.shape[1] // HOP_LENGTH
        if wanted <= 0:
            break
    return torch.cat(frames).clone()


def cached_latents(
    folder: Path, kind: str, model: str, seconds: float, cache: Path | None
) -> Tensor:
    """The result of `read_latents`, stored in a file in the folder ``cache``.

    The file's name is a hash of the arguments and of the names of the audio files, not of their
    content.
    """
    if cache is None:
        return read_latents(folder, kind, model, seconds)
    found = [str(path.resolve()) for path in find_audio(folder)]
    encoder = fingerprint(find_model(model)) if kind == "encoder" else None
    what = json.dumps([found, kind, encoder, seconds])
    path = cache / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.npy"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, read_latents(folder, kind, model, seconds).numpy())
    return torch.from_numpy(np.load(path))


def grid_levels(size: int) -> tuple[int, ...]:
    """FSQ levels for about ``size``, a power of two: published ones, or eights and fours."""
    near = min(PUBLISHED_LEVELS, key=lambda published: abs(published - size))
    if abs(near - size) < 0.1 * size:
        return PUBLISHED_LEVELS[near]
    eights, rest = divmod(size.bit_length() - 1, 3)
    return {0: (8,) * eights, 1: (8,) * (eights - 1) + (4, 4), 2: (8,) * eights + (4,)}[rest]


def measure(
    member: str,
    size: int,
    dim: int,
    stages: int,
    seed: int,
    steps: int,
    training: Tensor,
    held_out: Tensor,
) -> tuple[int, Result]:
    """Train a quantiser on frames ``[N, D]`` and code the others; its exact size and the result."""
    settings = dict(MEMBERS[member])
    if settings["kind"] == "fsq":
        settings["levels"] = grid_levels(size)
    else:
        settings |= {"size": size, "dim": dim}
    codebook = codebook_config(settings)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    quantizer = ResidualQuantizer(
        training.shape[1], ResidualQuantizerConfig(num_codebooks=stages, codebook=codebook)
    )

    began = time.perf_counter()
    order = torch.randperm(len(training), generator=generator)
    quantizer.initialise(training[order[: max(20_000, 16 * size)]], generator)
    initialised = time.perf_counter()
    optimizer = torch.optim.Adam(quantizer.parameters(), 1e-3)
    for _ in range(steps):
        rows = torch.randint(len(training), (1024,), generator=generator)
        optimizer.zero_grad()
        quantizer(training[rows].T.unsqueeze(0)).loss.backward()
        optimizer.step()
    trained = time.perf_counter()

    quantizer.eval().requires_grad_(False)
    pieces = held_out.split(CODING_FRAMES)
    codes = torch.cat([quantizer.encode(piece.T.unsqueeze(0)) for piece in pieces], dim=-1)
    coded = time.perf_counter()
    error = (quantizer.decode(codes)[0].T - held_out).square().mean()
    counts = count_codes(codes[0].numpy(), (codebook.size,) * stages)
    return codebook.size, Result(
        distortion=10 * torch.log10(error / held_out.var(dim=0, correction=0).mean()).item(),
        usage=statistics.mean(usage(stage) for stage in counts),
        perplexity=statistics.mean(perplexity(stage) for stage in counts),
        initialisation_seconds=initialised - began,
        training_seconds=trained - initialised,
        coding_seconds=coded - trained,
    )


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--latents", default="mel", type=click.Choice(["mel", "encoder"]), show_default=True)
@click.option("--model", default="speech_16khz", show_default=True, help="For encoder latents.")
@click.option("--seconds", default=1800.0, show_default=True, help="How much speech to read.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder to store the frames in.")
@click.option("--held-out", default=0.25, show_default=True, help="Share of the frames to code.")
@click.option("--member", "members", multiple=True, type=click.Choice(list(MEMBERS)))
@click.option("--size", "sizes", multiple=True, default=[1024], show_default=True)
@click.option("--stages", "stage_counts", multiple=True, default=[1, 8], show_default=True)
@click.option("--dim", default=12, show_default=True, help="Codebook dimension; FSQ has its own.")
@click.option("--steps", default=1000, show_default=True, help="Training steps of 1024 frames.")
@click.option("--seeds", default=3, show_default=True)
def main(
    data: Path,
    latents: str,
    model: str,
    seconds: float,
    cache: Path | None,
    held_out: float,
    members: tuple[str, ...],
    sizes: tuple[int, ...],
    stage_counts: tuple[int, ...],
    dim: int,
    steps: int,
    seeds: int,
) -> None:
    """Compare the quantisers on speech in a folder."""
    frames = cached_latents(data, latents, model, seconds, cache)
    cut = round(len(frames) * (1 - held_out))
    print(
        f"{len(frames)} audible frames of {frames.shape[1]} {latents} latents, "
        f"{len(frames) - cut} held out; {steps} steps, {seeds} seeds, "
        f"{torch.get_num_threads()} threads\n"
    )
    print(
        "| quantiser | size | stages | distortion dB | seeds | usage | perplexity "
        "| frames per entry | initialise s | train s | code s |"
    )
    print("| --- " * 11 + "|")
    for stages in stage_counts:
        for size in sizes:
            for member in members or MEMBERS:
                runs = [
                    measure(member, size, dim, stages, seed, steps, frames[:cut], frames[cut:])
                    for seed in range(seeds)
                ]
                results = [result for _, result in runs]
                mean = Result(*(statistics.mean(values) for values in zip(*results, strict=True)))
                distortions = [result.distortion for result in results]
                print(
                    f"| {member} | {runs[0][0]} | {stages} | {mean.distortion:.2f} "
                    f"| {max(distortions) - min(distortions):.2f} | {mean.usage:.1%} "
                    f"| {mean.perplexity:.0f} | {(len(frames) - cut) / runs[0][0]:.1f} "
                    f"| {mean.initialisation_seconds:.1f} | {mean.training_seconds:.1f} "
                    f"| {mean.coding_seconds:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
