"""Evaluate codecs: encode and decode files, and score the reconstructions.

The reference is the file, resampled to the codec's sample rate. Channels are encoded separately,
and a score of a file is the mean over its channels. Each file is held in memory: this is for clips
of seconds to minutes.

A file is encoded once, with the largest number of codebooks; a smaller number takes the first of
these codes. A beam search is repeated for each number. All codes go through a token file in memory,
which gives the bitrate.

The codec runs in this process, on one CPU thread by default. The scores are computed in other
processes. The two take turns, so that scoring does not change the measured speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from audiocodec.cores import available_cores
from audiocodec.errors import CodecError
from audiocodec.evaluation.baselines import Baseline
from audiocodec.evaluation.coding import code_file, num_threads, warm_up
from audiocodec.evaluation.comparison import Comparison
from audiocodec.evaluation.metrics import Metric, check_installed, select_metrics
from audiocodec.evaluation.result import Evaluation
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.saving import FlatAudio, SavedAudio
from audiocodec.evaluation.scoring import Pair, score_pairs
from audiocodec.evaluation.sources import find_sources
from audiocodec.progress import progress_bar
from audiocodec.runtime import RuntimeCodec

FILES_PER_TURN = 8  # for each scoring process: their audio is in memory at the same time


def evaluate(
    codec: RuntimeCodec,
    sources: str | Path | Iterable[str | Path],
    num_codebooks: Sequence[int] | None = None,
    *,
    metrics: Sequence[str] = (),
    beam: int = 1,
    coding: str | None = None,
    threads: int = 1,
    jobs: int | None = None,
    save: str | Path | None = None,
    flat: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Evaluation:
    """Evaluate one codec on audio files, or on all audio files in folders.

    A source that does not exist, a file that cannot be read and a score that a file does not have
    are listed in the result's ``failures``. The other files are evaluated.

    Args:
        codec: the codec.
        sources: files and folders.
        num_codebooks: numbers of codebooks; by default :func:`default_num_codebooks`.
        metrics: names of optional metrics to compute too, such as ``"distill_mos"``.
        beam: beam width of the search for codes, as in :meth:`RuntimeCodec.encode`.
        coding: of the token files, ``fixed`` or ``context``; by default the codec's.
        threads: CPU threads for the codec; PyTorch's own number is restored afterwards.
        jobs: scoring processes; by default one for each core.
        save: a folder for the audio, see :class:`~audiocodec.evaluation.saving.SavedAudio`.
        flat: as :class:`~audiocodec.evaluation.saving.FlatAudio`, for other evaluation tools.
        overwrite: replace files in ``save`` that exist.
        progress: show a progress bar on stderr.

    Raises:
        CodecError: no file could be read, a metric does not exist or its package is not installed,
            ``num_codebooks`` or ``beam`` is out of range, or audio cannot be saved.
    """
    comparison = compare(
        [codec],
        sources,
        num_codebooks,
        metrics=metrics,
        beam=beam,
        coding=coding,
        threads=threads,
        jobs=jobs,
        save=save,
        flat=flat,
        overwrite=overwrite,
        progress=progress,
    )
    return comparison.evaluations[0]


def compare(
    codecs: Sequence[RuntimeCodec],
    sources: str | Path | Iterable[str | Path],
    num_codebooks: Sequence[int] | None = None,
    *,
    metrics: Sequence[str] = (),
    beam: int = 1,
    coding: str | None = None,
    threads: int = 1,
    jobs: int | None = None,
    save: str | Path | None = None,
    flat: bool = False,
    overwrite: bool = False,
    stage_bits: bool = False,
    baselines: Sequence[Baseline] = (),
    progress: bool = False,
) -> Comparison:
    """:func:`evaluate` several codecs on the same files, one after another.

    Codecs of the same name are distinguished by the first digits of their fingerprints.

    Args:
        stage_bits: count the bits of each codebook under the context model too, which takes time.
        baselines: other codecs, whose evaluations follow those of ``codecs``, with 0 as the number
            of codebooks.

    Raises:
        CodecError: as :func:`evaluate`, or there is no codec. The arguments are checked before
            anything is computed.
    """
    if not codecs:
        raise CodecError("no codec to evaluate")
    check_installed("evaluation", metrics)
    selected = select_metrics(metrics)
    jobs = jobs or available_cores()
    evaluations = []
    for codec, label in zip(codecs, _labels(codecs), strict=True):
        requested = num_codebooks or default_num_codebooks(codec)
        counts = tuple(sorted({codec.resolve_num_codebooks(number) for number in requested}))
        evaluations.append(
            Evaluation(
                model=label,
                fingerprint=codec.fingerprint,
                sample_rate=codec.sample_rate,
                device=codec.device.type,
                num_codebooks=counts,
                metrics=tuple(selected),
                code_counts=[np.zeros(n, np.int64) for n in codec.codebook_sizes[: counts[-1]]],
                beam=beam,
                coding=coding or codec.default_coding(),
                threads=threads,
                context_bits=np.zeros(counts[-1]) if stage_bits and codec.context else None,
            )
        )
    for baseline in baselines:
        evaluations.append(
            Evaluation(baseline.name, "", baseline.sample_rate, "cpu", (0,), tuple(selected), [])
        )
    files, unreadable = find_sources(sources)
    layout = FlatAudio if flat else SavedAudio
    saved = layout(Path(save), files) if save is not None else None
    if saved:
        saved.check(evaluations, overwrite)
    coders: list[RuntimeCodec | Baseline] = [*codecs, *baselines]
    for coder, evaluation in zip(coders, evaluations, strict=True):
        evaluation.unreadable.update(unreadable)
        total = len(files) * len(evaluation.num_codebooks)
        with progress_bar(total, "scores", f"evaluate {evaluation.model}", progress) as bar:
            for row in _rows(coder, list(files), evaluation, selected, jobs, saved):
                evaluation.rows.append(row)
                bar.update()
        if not evaluation.rows:
            raise CodecError(f"no file could be read; the first: {evaluation.failures[0]}")
    if saved:
        saved.finish()
    return Comparison(evaluations)


def default_num_codebooks(codec: RuntimeCodec) -> tuple[int, ...]:
    """One codebook, a quarter, half and all of them, ascending."""
    most = codec.num_codebooks
    return tuple(sorted({1, max(1, most // 4), max(1, most // 2), most}))


def _labels(codecs: Sequence[RuntimeCodec]) -> list[str]:
    """The codecs' names, with the first digits of the fingerprint where a name occurs twice."""
    names = [codec.name for codec in codecs]
    return [
        name if names.count(name) == 1 else f"{name}-{codec.fingerprint[:8]}"
        for name, codec in zip(names, codecs, strict=True)
    ]


def _rows(
    codec: RuntimeCodec | Baseline,
    files: list[Path],
    evaluation: Evaluation,
    metrics: Mapping[str, Metric],
    jobs: int,
    saved: SavedAudio | None,
) -> Iterator[Row]:
    """Code some files, score them, and so on, so that the audio of only these is in memory."""
    code: Callable[[Path], list[Pair[Row]]]
    if isinstance(codec, RuntimeCodec):
        with num_threads(evaluation.threads):
            warm_up(codec)
        code = partial(code_file, codec, evaluation=evaluation)
    else:
        code = codec.code_file
    for start in range(0, len(files), FILES_PER_TURN * jobs):
        pairs: list[Pair[Row]] = []
        with num_threads(evaluation.threads):
            for file in files[start : start + FILES_PER_TURN * jobs]:
                try:
                    coded = code(file)
                except CodecError as error:
                    evaluation.unreadable[str(file)] = str(error)
                    continue
                if saved:
                    saved.write(evaluation.model, file, coded)
                pairs += coded
        yield from score_pairs(pairs, metrics, jobs)
