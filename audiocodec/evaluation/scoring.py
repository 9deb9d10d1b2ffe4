"""Compute the scores of reconstructions in several processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import CodecError
from audiocodec.evaluation.alignment import align
from audiocodec.evaluation.metrics import Metric, ScoreError, select_metrics
from audiocodec.evaluation.rows import ScoredFile
from audiocodec.extras import import_extra

PAIRS_PER_WORKER = 10  # a process takes seconds to start, so fewer pairs are not worth one

Audio = NDArray[np.float32]  # [C, T]
Result = TypeVar("Result", bound=ScoredFile)


@dataclass
class Pair(Generic[Result]):
    """A reconstruction, its reference, their sample rate in Hz, and the row for their scores."""

    row: Result
    reconstruction: Audio
    reference: Audio
    sample_rate: int


def score_pairs(
    pairs: list[Pair[Result]], metrics: Mapping[str, Metric], workers: int
) -> Iterator[Result]:
    """The rows of the pairs with their scores, in order.

    Args:
        metrics: by name, as from :func:`~audiocodec.evaluation.metrics.select_metrics`.
        workers: the largest number of processes, which run one thread each.

    Raises:
        CodecError: a process was killed.
    """
    joblib = import_extra("joblib", "eval", "scoring in several processes")
    workers = min(workers, max(1, len(pairs) // PAIRS_PER_WORKER))
    # loky does not fork: this is safe beside torch's threads, and in scripts without a
    # `__main__` guard. It pickles metrics by value where a process could not import them.
    run = joblib.Parallel(n_jobs=workers, return_as="generator", max_nbytes=None)
    tasks = (
        joblib.delayed(score_pair)(pair.reconstruction, pair.reference, pair.sample_rate, metrics)
        for pair in pairs
    )
    try:
        for pair, (lag, scores, reasons) in zip(pairs, run(tasks), strict=True):
            pair.row.lag_samples, pair.row.scores, pair.row.reasons = lag, scores, reasons
            yield pair.row
    except BrokenProcessPool:
        raise CodecError("a scoring process was killed (out of memory?); try fewer jobs") from None


def score_pair(
    reconstruction: Audio,
    reference: Audio,
    sample_rate: int,
    metrics: Mapping[str, Metric] | None = None,
) -> tuple[int, dict[str, float], dict[str, str]]:
    """Score a reconstruction against its reference.

    A score is the mean over channels. If one channel has no score, there is none. Signals of
    different lengths are compared over their common length.

    Args:
        reconstruction, reference: ``[C, T]`` in [-1, 1].
        sample_rate: Hz.
        metrics: by name; by default all metrics that are not optional.

    Returns:
        The lag of the first channel in samples, the scores, and the reasons for missing scores.
    """
    metrics = select_metrics() if metrics is None else metrics
    lags: list[int] = []
    scores: dict[str, list[float]] = {name: [] for name in metrics}
    reasons: dict[str, str] = {}
    for reconstructed, original in zip(reconstruction, reference, strict=True):
        size = min(len(reconstructed), len(original))
        unaligned = reconstructed[:size], original[:size]
        *aligned, lag = align(reconstructed, original, sample_rate)
        lags.append(lag)
        for name, metric in metrics.items():
            first, second = aligned if metric.aligned else unaligned
            try:
                scores[name].append(metric(first, second, sample_rate))
            except ScoreError as error:
                reasons[name] = str(error)
    means = {name: float(np.mean(values)) for name, values in scores.items() if name not in reasons}
    return lags[0], means, reasons
