"""The table of scores of a finished model, on the validation clips of its run."""

import importlib.util
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from audiocodec.codec import Codec
from audiocodec.cores import available_cores
from audiocodec.evaluation.metrics import METRICS, ScoreError
from audiocodec.evaluation.tables import columns, write_lines
from audiocodec.paths import writing
from audiocodec.training.pace import Pace
from audiocodec.training.validation import ValidationSet

NUMBERS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Of codebooks, beside all of them."""

TABLE_METRICS = ("pesq_wb", "stoi", "log_mel_distance")
"""Metrics of the table, as far as their packages are installed."""

Scores = dict[str, float]
"""``codebooks``, ``kbps`` (of codes, fixed coding), ``clips`` and the metrics' means by name."""


@torch.no_grad()
def score(codec: Codec, validation: ValidationSet, clips: int) -> list[Scores]:
    """The scores of ``clips`` validation clips, evenly spaced, for each number of codebooks.

    A clip that has no score, such as a silent one, is left out of that score's mean.
    """
    if not validation.is_scored:
        return []
    was_training = codec.training
    codec.eval()
    stride = max(1, len(validation.audio) // max(1, clips))
    reference = validation.audio[::stride][:clips].to(codec.device)
    most = codec.num_codebooks
    rows = []
    for number in sorted({*(n for n in NUMBERS if n < most), most}):
        means = _means(codec(reference, number).audio, reference, validation.sample_rate)
        row = {"codebooks": number, "kbps": codec.bitrate(number) / 1000, "clips": len(reference)}
        rows.append({**row, **means})
    codec.train(was_training)
    return rows


def table(rows: Sequence[Scores]) -> str:
    """The scores as text."""
    if not rows:
        return ""
    shown = [name for name in rows[0] if name != "clips"]
    forms = {"codebooks": "d", "kbps": ".2f"}
    lines = [[name if name in forms else METRICS[name].title for name in shown]]
    for row in rows:
        cells = []
        for name in shown:
            form = forms.get(name) or METRICS[name].format
            cells.append("-" if math.isnan(row[name]) else f"{row[name]:{form}}")
        lines.append(cells)
    return "\n".join(columns(lines))


def keep_time(pace: Pace, codec: Codec, validation: ValidationSet) -> None:
    """Measure once what the scores of a clip take, so that a budget keeps time for the table."""
    if not pace.has_timed("scores"):
        with pace.timing("scores"):
            score(codec, validation, 1)
        pace.scored_clips(len(validation.audio))


def score_run(pace: Pace, codec: Codec, validation: ValidationSet, path: Path) -> list[Scores]:
    """:func:`score` on as many clips as there is time for, once, written as CSV too.

    Raises:
        CodecError: the file cannot be written.
    """
    clips = pace.scored_clips(len(validation.audio))
    if not clips or path.is_file():
        return []
    rows = score(codec, validation, clips)
    if not rows:
        return []
    with writing(path):
        write_lines(path, list(rows[0]), [list(row.values()) for row in rows])
    return rows


def _means(reconstruction: Tensor, reference: Tensor, sample_rate: int) -> Scores:
    """Means of the metrics over the clips ``[B, 1, T]``; NaN where none has a score."""
    pairs = [x.cpu()[:, 0].clamp(-1, 1).numpy() for x in (reconstruction, reference)]
    names = [
        name for name in TABLE_METRICS if importlib.util.find_spec(METRICS[name].package or "math")
    ]

    def of(clip: int) -> list[float]:
        scores = []
        for name in names:
            try:
                scores.append(METRICS[name](pairs[0][clip], pairs[1][clip], sample_rate))
            except ScoreError:
                scores.append(math.nan)
        return scores

    with ThreadPoolExecutor(available_cores()) as pool:
        by_clip = list(pool.map(of, range(len(reference))))
    means = {}
    for name, column in zip(names, zip(*by_clip, strict=True), strict=True):
        found = [score for score in column if not math.isnan(score)]
        means[name] = sum(found) / len(found) if found else math.nan
    return means
