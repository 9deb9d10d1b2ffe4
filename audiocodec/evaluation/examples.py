"""The files with the worst and the best scores, coded once more to be heard and seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from audiocodec.audio import load_audio
from audiocodec.evaluation.baselines import Baseline
from audiocodec.evaluation.metrics import METRICS
from audiocodec.evaluation.result import Evaluation
from audiocodec.progress import progress_bar
from audiocodec.runtime import RuntimeCodec

MOST = 5
"""Files of either kind."""
SECONDS = 15.0
"""Of each file, from its beginning."""

Signal = NDArray[np.float32]


@dataclass(frozen=True)
class Example:
    """The first channel of one file.

    Attributes:
        file: its path.
        score: by which the files were ranked.
        seconds: length of the file; the signals may be shorter, see :data:`SECONDS`.
        sample_rate: of all signals, in Hz.
        signals: ``[T]`` by name; the reference is the first.
    """

    file: str
    score: float
    seconds: float
    sample_rate: int
    signals: dict[str, Signal]


@dataclass(frozen=True)
class Examples:
    """The files with the worst and the best scores; fewer than ten files are in one list only.

    Attributes:
        metric: the score's name, of the first model with ``num_codebooks`` codebooks.
        worst, best: the worst first, and the best first.
    """

    metric: str
    model: str
    num_codebooks: int
    worst: list[Example]
    best: list[Example]


def find_examples(
    codecs: Sequence[RuntimeCodec | Baseline],
    evaluations: Sequence[Evaluation],
    *,
    most: int = MOST,
    progress: bool = False,
) -> Examples | None:
    """Rank the files by a score of the first model, and code the worst and the best with all.

    The score is PESQ, or else the first metric that files have, with the most codebooks that were
    evaluated. Each model codes with the most codebooks that were evaluated for it.

    Args:
        codecs: those that were evaluated, baselines too.
        evaluations: their results, in the same order.
        most: files of either kind.
        progress: show a progress bar on stderr.

    Returns:
        None if no file has a score.
    """
    first = evaluations[0]
    count = first.num_codebooks[-1]
    rows = [row for row in first.rows if row.num_codebooks == count]
    names = sorted(first.metrics, key=lambda name: name != "pesq_wb")
    metric = next((name for name in names if any(name in row.scores for row in rows)), None)
    if metric is None:
        return None
    sign = -1 if METRICS[metric].better == "lower" else 1
    scored = [row for row in rows if metric in row.scores]
    ranked = sorted(scored, key=lambda row: (sign * row.scores[metric], row.file))
    number = min(most, max(1, len(ranked) // 2))
    rate = max(codec.sample_rate for codec in codecs)
    worst, best = ranked[:number], ranked[::-1][: min(number, len(ranked) - number)]
    with progress_bar(len(worst) + len(best), "examples", "report", progress) as bar:
        lists: list[list[Example]] = []
        for chosen in (worst, best):
            lists.append([])
            for row in chosen:
                signals = _signals(Path(row.file), codecs, evaluations, rate)
                score = row.scores[metric]
                lists[-1].append(Example(row.file, score, row.seconds, rate, signals))
                bar.update()
    return Examples(metric, first.model, count, *lists)


def _signals(
    file: Path,
    codecs: Sequence[RuntimeCodec | Baseline],
    evaluations: Sequence[Evaluation],
    rate: int,
) -> dict[str, Signal]:
    reference, _ = load_audio(file, rate)
    signals = {"reference": reference[0, : round(SECONDS * rate)].numpy()}
    for codec, evaluation in zip(codecs, evaluations, strict=True):
        count = evaluation.num_codebooks[-1]
        if isinstance(codec, RuntimeCodec):
            audio, _ = load_audio(file, codec.sample_rate)
            codes = codec.encode(audio[:1, None], count, evaluation.beam)
            decoded = codec.decode(codes, audio.shape[1])[0, 0].float().cpu().numpy()
        else:
            decoded = codec.code_file(file)[0].reconstruction[0]
        decoded = decoded[: round(SECONDS * codec.sample_rate)]
        if codec.sample_rate != rate:
            decoded = soxr.resample(decoded, codec.sample_rate, rate)
        label = evaluation.model + (f", codebooks: {count}" if count else "")
        signals[label] = decoded
    return signals
