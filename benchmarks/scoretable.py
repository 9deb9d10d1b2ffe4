"""Scores of models on clips, with and without codebooks, and a table of them. Imported by
`ablation.py`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from audiocodec import Codec, CodecConfig, load_audio
from audiocodec.checkpoint import load_trainable
from audiocodec.complexity import gigamacs
from audiocodec.evaluation.metrics import METRICS
from audiocodec.training import Recipe
from audiocodec.training.losses.spectra import Spectra
from audiocodec.training.losses.spectral import mel_loss, stft_loss

CODEBOOKS = None, 3, 12
FORMATS = {"mel": ".4f", "stft": ".4f", "stoi": ".4f"}

Scores = dict[str, list[float]]
"""Of each clip, by the score's name and the number of codebooks."""


class Row(NamedTuple):
    """A line of the table: shape, CPU seconds of a step, steps, scores."""

    config: CodecConfig
    cost: float
    steps: int
    scores: Scores


@torch.no_grad()
def scores(model: Path, recipe: Recipe, files: Sequence[Path], metrics: Sequence[str]) -> Scores:
    """Of each file, by name of the score and number of codebooks (``-`` for no quantiser)."""
    codec = load_trainable(model).eval()
    found: Scores = {}
    for file in files:
        reference = load_audio(file, codec.sample_rate)[0][:1].unsqueeze(1)
        for count in CODEBOOKS:
            if count is not None and count > codec.num_codebooks:
                continue
            audio = codec.autoencode(reference) if count is None else codec(reference, count).audio
            for name, value in clip_scores(audio, reference, recipe, metrics).items():
                found.setdefault(f"{name} {count or '-'}", []).append(value)
    return found


def clip_scores(
    audio: Tensor, reference: Tensor, recipe: Recipe, metrics: Sequence[str]
) -> dict[str, float]:
    """The losses and metrics of one clip ``[1, 1, T]``."""
    rate, settings = recipe.codec.sample_rate, recipe.losses
    spectra = Spectra(audio, reference, rate, settings.window_lengths, settings.mel_bands)
    pair = [x[0, 0].clamp(-1, 1).numpy() for x in (audio, reference)]
    losses = {"mel": float(mel_loss(spectra)), "stft": float(stft_loss(spectra))}
    return losses | {name: METRICS[name](*pair, rate) for name in metrics}


def table(results: dict[str, Row]) -> str:
    """Costs and mean scores, then differences from the first row, as Markdown."""
    first = next(iter(results.values())).scores
    rows = [
        "| variant | GMAC/s | parameters M | s a step | steps | " + " | ".join(first) + " |",
        "| -- " * (5 + len(first)) + "|",
    ]
    for name, row in results.items():
        parameters = sum(p.numel() for p in Codec.without_weights(row.config).parameters()) / 1e6
        means = [f"{statistics.mean(v):{form(key)}}" for key, v in row.scores.items()]
        cost = f"{gigamacs(row.config):.2f} | {parameters:.1f} | {row.cost:.3f} | {row.steps}"
        rows.append("| " + " | ".join([name, cost, *means]) + " |")
    rows += ["", "| difference | " + " | ".join(first) + " |", "| -- " * (1 + len(first)) + "|"]
    for name, row in list(results.items())[1:]:
        cells = [difference(row.scores[key], first[key], form(key)) for key in first]
        rows.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(rows)


def form(key: str) -> str:
    """How a score is printed, by its name and the number of codebooks."""
    return FORMATS.get(key.split()[0], ".3f")


def difference(values: Sequence[float], others: Sequence[float], shown: str) -> str:
    """The mean difference over the clips, with 1.96 standard errors."""
    pairs = [a - b for a, b in zip(values, others, strict=True)]
    error = 1.96 * statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.nan
    return f"{statistics.mean(pairs):+{shown}} ± {error:{shown}}"
