"""Score reconstructions against their references, several processes at a time."""

from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import CodecError
from audiocodec.evaluation import metrics
from audiocodec.evaluation.metrics import Signal
from audiocodec.evaluation.mos import distill_mos
from audiocodec.evaluation.result import ScoredFile
from audiocodec.extras import import_extra

PAIRS_PER_WORKER = 10  # a process takes seconds to start: what makes it worth while

Audio = NDArray[np.float32]  # [C, T]
Result = TypeVar("Result", bound=ScoredFile)


@dataclass
class Pair(Generic[Result]):
    """A reconstruction and its reference at one sample rate (Hz), and the row for their scores."""

    row: Result
    reconstruction: Audio
    reference: Audio
    sample_rate: int


def score_pairs(pairs: list[Pair[Result]], workers: int, mos: bool) -> Iterator[Result]:
    """The rows with their scores, in order, from up to ``workers`` processes of one thread each.

    Raises:
        CodecError: such a process was killed.
    """
    joblib = import_extra("joblib", "eval", "scoring in several processes")
    workers = min(workers, max(1, len(pairs) // PAIRS_PER_WORKER))
    # loky's processes start afresh: safe beside torch's threads, and in scripts without a guard.
    run = joblib.Parallel(n_jobs=workers, return_as="generator", max_nbytes=None)
    tasks = (
        joblib.delayed(score_pair)(pair.reconstruction, pair.reference, pair.sample_rate, mos)
        for pair in pairs
    )
    try:
        for pair, (lag, scores, reasons) in zip(pairs, run(tasks), strict=True):
            pair.row.lag_samples, pair.row.scores, pair.row.reasons = lag, scores, reasons
            yield pair.row
    except BrokenProcessPool:
        raise CodecError(
            "a process that scored was killed (out of memory?); try fewer jobs"
        ) from None


def score_pair(
    reconstruction: Audio, reference: Audio, sample_rate: int, mos: bool = False
) -> tuple[int, dict[str, float], dict[str, str]]:
    """The lag in samples (of the first channel), the scores of ``[C, T]`` signals, and why not.

    A score is the mean over channels; where one channel has none, the file has none. Of signals of
    different lengths, what the longer one has beyond the other is left out.
    """
    lags: list[int] = []
    scores: dict[str, list[float]] = {}
    reasons: dict[str, str] = {}
    for late, early in zip(reconstruction, reference, strict=True):
        shifted, cut, lag = metrics.align(late, early, sample_rate)
        lags.append(lag)
        wanted = _scores(shifted, cut, late, early, sample_rate)
        if mos:
            wanted["distill_mos"] = partial(distill_mos, shifted, sample_rate)
        for name, score in wanted.items():
            try:
                scores.setdefault(name, []).append(score())
            except metrics.ScoreError as error:
                reasons[name] = str(error)
    means = {name: float(np.mean(s)) for name, s in scores.items() if name not in reasons}
    return lags[0], means, reasons


def _scores(
    shifted: Signal, cut: Signal, late: Signal, early: Signal, sample_rate: int
) -> dict[str, Callable[[], float]]:
    size = min(len(late), len(early))
    return {
        "pesq_wb": lambda: metrics.pesq_wb(shifted, cut, sample_rate),
        "stoi": lambda: metrics.stoi(shifted, cut, sample_rate),
        "si_sdr": lambda: metrics.si_sdr(shifted, cut),
        "si_sdr_raw": lambda: metrics.si_sdr(late[:size], early[:size]),
        "log_mel_distance": lambda: metrics.log_mel_distance(shifted, cut, sample_rate),
    }
