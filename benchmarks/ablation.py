"""Train networks of several shapes for equal compute time and score them on held-out speech.

    python benchmarks/ablation.py TRAIN/part0 VALIDATION --work runs/shapes --minutes 10

Each variant is the bundled model, grown where it differs (what is added is silent at first), and
trained on by the recipe; with `--from-nothing` it is a new network. The CPU time of a training step
is measured once, for all variants in turns, and kept in the folder. Each variant then trains for as
many steps as fit into the time, whatever else the machine does meanwhile. Seed, batches and
losses are equal.

The averaged weights are scored without the quantiser and with some numbers of codebooks. Prints
each variant's cost, the scores, and the differences from the first variant, clip by clip, with
1.96 standard errors. The command may be interrupted and repeated: what is done is kept.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from audiocodec import Codec, CodecConfig, CodecError, find_audio, load_audio, save_codec
from audiocodec.checkpoint import load_trainable
from audiocodec.evaluation.metrics import METRICS
from audiocodec.modules.shape import SEANetConfig
from audiocodec.paths import replacing
from audiocodec.training import Recipe, Trainer
from audiocodec.training.growth import grown
from audiocodec.training.losses.spectra import Spectra
from audiocodec.training.losses.spectral import mel_loss, stft_loss

ROOT = Path(__file__).resolve().parents[1]
WINDOW = 48
"""Frames of attention: as many as a segment of the recipe has."""
VARIANTS: dict[str, dict[str, Any]] = {
    "same": {},
    "decoder": {"decoder_residual_units": (1, 3, 3, 10)},
    "attention": {"attention": {"encoder_blocks": 2, "decoder_blocks": 2, "window": WINDOW}},
    "decoder-attention": {
        "decoder_residual_units": (1, 3, 3, 8),
        "attention": {"encoder_blocks": 1, "decoder_blocks": 2, "window": WINDOW},
    },
    "first-last": {"decoder_channels": (48, 80, 128, 384), "decoder_residual_units": (2, 3, 3, 6)},
    "middle": {"decoder_residual_units": (1, 6, 6, 6)},
    "snake": {"snake_levels": (0, 1, 2, 3)},
    "snake-slow": {"snake_levels": (2, 3)},
    "latents": {"latent_dim": 256},
}
"""Name -> settings of codec.seanet. Those that a trained model cannot grow into need
`--from-nothing`."""

INITIALISATIONS = 0.03, 0.15, 0.5, 0.85
"""Shares of a run from nothing at which codebooks are initialised."""
CODEBOOKS = None, 3, 12
METRIC_NAMES = "pesq_wb", "stoi", "distill_mos"
FORMATS = {"mel": ".4f", "stft": ".4f", "pesq_wb": ".3f", "stoi": ".4f", "distill_mos": ".3f"}
SECONDS = 2.0
"""Of audio in which multiplications are counted."""
TIMED = 6


def gmacs(config: CodecConfig) -> float:
    """Multiplications of encoder and decoder, in 10^9 per second of audio; nothing is computed."""
    codec = Codec.without_weights(config)
    samples = round(SECONDS * codec.frame_rate) * codec.hop_length
    with (
        torch.device("meta"),
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),  # as matrix products, which are counted
        FlopCounterMode(display=False) as counter,
    ):
        codec.decoder(codec.encoder(torch.zeros(1, 1, samples)))
    return counter.get_total_flops() / 2e9 / SECONDS


def shaped(recipe: Recipe, variant: str) -> Recipe:
    """The recipe with the variant's shape.

    Raises:
        CodecError: no variant of that name, or settings that are refused.
    """
    if variant not in VARIANTS:
        raise CodecError(f"--variant {variant}: use one of {', '.join(VARIANTS)}")
    values = recipe.codec.seanet.model_dump() | VARIANTS[variant]
    seanet = SEANetConfig.from_mapping(values, source=variant)
    codec = recipe.codec.model_copy(update={"seanet": seanet})
    return recipe.model_copy(update={"name": variant, "codec": codec})


def scheduled(recipe: Recipe, steps: int, start: Path | None) -> Recipe:
    """The recipe for so many steps, from nothing or from the model in ``start``."""
    shares = () if start is not None else INITIALISATIONS
    schedule = {
        "steps": steps,
        "initialisation_steps": tuple(round(share * steps) for share in shares),
        "checkpoint_every": max(1, steps // 8),
        "validate_every": steps,
    }
    return recipe.model_copy(
        update={
            "init_from": None if start is None else str(start),
            "schedule": recipe.schedule.model_copy(update=schedule),
            "optimizer": recipe.optimizer.model_copy(
                update={"warmup_steps": min(recipe.optimizer.warmup_steps, steps // 10)}
            ),
        }
    )


def step_seconds(trainers: dict[str, Trainer]) -> dict[str, float]:
    """CPU seconds of a training step of each, in turns: the median."""
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for turn in range(TIMED + 1):
        for name, trainer in trainers.items():
            began = time.process_time()
            trainer.train_step()
            if turn:  # the first one is slower
                times[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def known_costs(recipes: dict[str, Recipe], work: Path) -> dict[str, float]:
    """Seconds of a step of each variant: those in the folder, and newly measured ones."""
    path = work / "costs.json"
    costs: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    if missing := [name for name in recipes if name not in costs]:
        with tempfile.TemporaryDirectory() as folder:
            timed = {
                name: Trainer(scheduled(recipes[name], 1000, None), Path(folder, name))
                for name in missing
            }
            for trainer in timed.values():
                trainer.pace.place(900, 1.0)  # latents are quantised
            costs |= step_seconds(timed)
        with replacing(path) as part:
            part.write_text(json.dumps(costs, indent=1))
    return costs


def train(recipe: Recipe, folder: Path) -> None:
    """Train in a folder, from the beginning or from its last checkpoint, unless it is done."""
    resume = (folder / "state.pt").is_file()
    trainer = Trainer(recipe, folder, resume=resume)
    if not trainer.pace.ended and not trainer.train():
        raise CodecError(f"{folder}: stopped; the same command resumes it")


@torch.no_grad()
def scores(model: Path, recipe: Recipe, files: Sequence[Path]) -> dict[str, list[float]]:
    """Of each file, by name of the score and number of codebooks (``-`` for no quantiser)."""
    codec = load_trainable(model).eval()
    found: dict[str, list[float]] = {}
    for file in files:
        reference = load_audio(file, codec.sample_rate)[0][:1].unsqueeze(1)
        for count in CODEBOOKS:
            if count is not None and count > codec.num_codebooks:
                continue
            audio = codec.autoencode(reference) if count is None else codec(reference, count).audio
            for name, value in clip_scores(audio, reference, recipe).items():
                found.setdefault(f"{name} {count or '-'}", []).append(value)
    return found


def clip_scores(audio: Tensor, reference: Tensor, recipe: Recipe) -> dict[str, float]:
    """The losses and metrics of one clip ``[1, 1, T]``."""
    rate, losses = recipe.codec.sample_rate, recipe.losses
    spectra = Spectra(audio, reference, rate, losses.window_lengths, losses.mel_bands)
    pair = [x[0, 0].clamp(-1, 1).numpy() for x in (audio, reference)]
    metrics = {name: METRICS[name](*pair, rate) for name in METRIC_NAMES}
    return {"mel": float(mel_loss(spectra)), "stft": float(stft_loss(spectra)), **metrics}


def table(
    recipes: dict[str, Recipe],
    costs: dict[str, float],
    found: dict[str, dict[str, list[float]]],
) -> str:
    """Costs and mean scores, then differences from the first variant, as Markdown."""
    first = next(iter(found.values()))
    rows = [
        "| variant | GMAC/s | parameters M | s a step | steps | " + " | ".join(first) + " |",
        "| -- " * (5 + len(first)) + "|",
    ]
    for name, values in found.items():
        codec = recipes[name].codec
        parameters = sum(p.numel() for p in Codec.without_weights(codec).parameters()) / 1e6
        means = [f"{statistics.mean(v):{FORMATS[k.split()[0]]}}" for k, v in values.items()]
        steps = recipes[name].schedule.steps
        cells = [name, f"{gmacs(codec):.2f}", f"{parameters:.1f}", f"{costs[name]:.3f}", str(steps)]
        rows.append("| " + " | ".join([*cells, *means]) + " |")
    rows += ["", "| difference | " + " | ".join(first) + " |", "| -- " * (1 + len(first)) + "|"]
    for name, values in list(found.items())[1:]:
        cells = [difference(values[key], first[key], FORMATS[key.split()[0]]) for key in first]
        rows.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(rows)


def difference(values: Sequence[float], others: Sequence[float], form: str) -> str:
    """The mean difference over the clips, with 1.96 standard errors."""
    pairs = [a - b for a, b in zip(values, others, strict=True)]
    error = 1.96 * statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.nan
    return f"{statistics.mean(pairs):+{form}} ± {error:{form}}"


@click.command()
@click.argument("training", type=click.Path(exists=True, path_type=Path))
@click.argument("validation", type=click.Path(exists=True, path_type=Path))
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Folder of the runs.")
@click.option("--recipe", default=ROOT / "recipes" / "speech_16khz.yaml", type=Path)
@click.option("--model", default="speech_16khz", show_default=True, help="To start from.")
@click.option("--from-nothing", is_flag=True, help="Start from new networks instead.")
@click.option("--minutes", default=10.0, show_default=True, help="CPU time of each variant.")
@click.option("--variant", "variants", multiple=True, help="By default all that can be made.")
@click.option("--every", default=9, show_default=True, help="Score one validation file in so many.")
@click.option("--set", "overrides", multiple=True, help="Settings of the recipe.")
def main(
    training: Path,
    validation: Path,
    work: Path,
    recipe: Path,
    model: str,
    from_nothing: bool,
    minutes: float,
    variants: tuple[str, ...],
    every: int,
    overrides: tuple[str, ...],
) -> None:
    """Compare network shapes after equal compute time."""
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    data = [f"data.root={training}", f"data.validation={validation}", f"data.cache={work / 'cache'}"]
    base = Recipe.from_yaml(recipe, [*overrides, *data]).with_absolute_paths()
    grows = [n for n in VARIANTS if not {"snake_levels", "latent_dim"} & VARIANTS[n].keys()]
    names = variants or (tuple(VARIANTS) if from_nothing else tuple(grows))
    recipes = {name: shaped(base, name) for name in names}
    costs = known_costs(recipes, work)
    files = find_audio(validation)[::every]
    found: dict[str, dict[str, list[float]]] = {}
    for name in names:
        folder = work / f"{'new' if from_nothing else 'grown'}-{name}-{minutes:g}"
        start = None
        if not from_nothing:
            start = folder / "start"
            if not start.is_dir():
                save_codec(grown(load_trainable(model), recipes[name].codec.seanet), start)
        steps = round(60 * minutes / costs[name])
        recipes[name] = scheduled(recipes[name], steps, start)
        path = folder / "scores.json"
        if not path.is_file():
            train(recipes[name], folder / "run")
            with replacing(path) as part:
                part.write_text(json.dumps(scores(folder / "run" / "model", base, files)))
        found[name] = json.loads(path.read_text())
        click.echo(table(recipes, costs, found) + "\n")


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
