"""Code and score files.

The file resampled to the codec's rate is the reference. Channels are coded side by side; a file's
score is the mean over its channels. A file is encoded once, with the most codebooks asked for:
fewer are a prefix of the same codes. With a beam they are not, and each number has a search of its
own. Each number of codebooks goes through a token file, whose size
is measured and whose codes are what is decoded. All scores but `si_sdr_raw` are taken after a delay
of up to 50 ms is undone. Made for clips of seconds to minutes: each is held in memory whole.

The codec runs in this process, on a CPU by default with one thread, and the scoring in worker
processes, by turns: the two never fight for cores, and the speed that is reported is the codec's
own.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from audiocodec.audio import find_audio, load_audio
from audiocodec.codec import Codec
from audiocodec.cores import available_cores
from audiocodec.errors import CodecError
from audiocodec.evaluation import metrics
from audiocodec.evaluation.mos import load_distill_mos
from audiocodec.evaluation.result import SCORES, Comparison, Evaluation, Row
from audiocodec.evaluation.saving import SavedAudio
from audiocodec.evaluation.scoring import Pair, score_pairs
from audiocodec.progress import progress_bar
from audiocodec.tokens.file import TokenFile, TokenHeader, TokenWriter
from audiocodec.tokens.stats import count_codes

FILES_PER_TURN = 8  # for each worker: decoded audio that waits in memory to be scored


def evaluate(
    codec: Codec,
    sources: str | Path | Iterable[str | Path],
    num_codebooks: Sequence[int] | None = None,
    jobs: int | None = None,
    mos: bool = False,
    progress: bool = False,
    beam: int = 1,
    save: str | Path | None = None,
    overwrite: bool = False,
    threads: int = 1,
) -> Evaluation:
    """Encode, decode and score audio files, or all of those in folders.

    ``num_codebooks`` defaults to :func:`ladder`, ``jobs`` (processes that score) to the number of
    cores; ``mos`` adds DistillMOS; ``beam`` is as in :meth:`Codec.encode`; the codec runs on so
    many CPU ``threads``, and PyTorch has as many afterwards as it had before. A source that is not
    there, a file that cannot be read, or a score that a file cannot have, is named in the result's
    ``failures`` and the rest is done. ``progress`` draws a bar on stderr.

    ``save`` keeps the audio in a folder, as :class:`~audiocodec.evaluation.saving.SavedAudio` lays
    it out; files that are there already are an error unless ``overwrite`` is true.

    Raises:
        CodecError: nothing there, no file could be read, more codebooks than the codec has, no
            beam, DistillMOS is not installed, or audio cannot be saved.
    """
    return compare(
        [codec], sources, num_codebooks, jobs, mos, progress, beam, save, overwrite, threads
    ).evaluations[0]


def compare(
    codecs: Sequence[Codec],
    sources: str | Path | Iterable[str | Path],
    num_codebooks: Sequence[int] | None = None,
    jobs: int | None = None,
    mos: bool = False,
    progress: bool = False,
    beam: int = 1,
    save: str | Path | None = None,
    overwrite: bool = False,
    threads: int = 1,
) -> Comparison:
    """:func:`evaluate` several codecs, one after another, on the same files.

    Codecs of the same name are told apart by the first digits of their fingerprints.

    Raises:
        CodecError: as :func:`evaluate`, before any is run if it can be known; or no codec.
    """
    metrics.check_installed("evaluation")
    if not codecs:
        raise CodecError("no codec to evaluate")
    counts = [
        tuple(sorted({codec.resolve_num_codebooks(n) for n in num_codebooks or ladder(codec)}))
        for codec in codecs
    ]
    names = [codec.name for codec in codecs]
    labels = [
        name if names.count(name) == 1 else f"{name}-{codec.fingerprint[:8]}"
        for name, codec in zip(names, codecs, strict=True)
    ]
    unreadable: dict[str, str] = {}
    files = _find(sources, unreadable)
    jobs = jobs or available_cores()
    if mos:
        load_distill_mos()
    saved = SavedAudio(Path(save), files) if save is not None else None
    if saved:
        rates = [codec.sample_rate for codec in codecs]
        saved.check(list(zip(labels, counts, rates, strict=True)), overwrite)
    results = []
    for codec, label, numbers in zip(codecs, labels, counts, strict=True):
        result = Evaluation(
            model=label,
            fingerprint=codec.fingerprint,
            sample_rate=codec.sample_rate,
            device=codec.device.type,
            num_codebooks=numbers,
            beam=beam,
            threads=threads,
            scores=tuple(name for name in SCORES if mos or name != "distill_mos"),
            code_counts=[np.zeros(n, np.int64) for n in codec.codebook_sizes[: numbers[-1]]],
            unreadable=dict(unreadable),
        )
        _run(codec, list(files), result, jobs, mos, progress, saved)
        if not result.rows:
            raise CodecError(f"no file could be read; the first: {result.failures[0]}")
        results.append(result)
    return Comparison(results)


def _run(
    codec: Codec,
    files: list[Path],
    result: Evaluation,
    jobs: int,
    mos: bool,
    progress: bool,
    saved: SavedAudio | None,
) -> None:
    """Fill ``result``: code and score the files, as many in memory as a turn takes."""
    with _num_threads(result.threads):
        warm_up(codec)
    counts = result.num_codebooks
    total = len(files) * len(counts)
    with progress_bar(total, "scores", f"evaluate {result.model}", progress) as bar:
        for start in range(0, len(files), FILES_PER_TURN * jobs):
            waiting: list[Pair[Row]] = []
            with _num_threads(result.threads):
                for file in files[start : start + FILES_PER_TURN * jobs]:
                    try:
                        pairs = _code_file(codec, file, result)
                    except CodecError as error:
                        result.unreadable[str(file)] = str(error)
                        bar.update(len(counts))
                        continue
                    if saved:
                        saved.write(result.model, file, pairs)
                    waiting += pairs
            for row in score_pairs(waiting, jobs, mos):
                result.rows.append(row)
                bar.update()


def warm_up(codec: Codec) -> None:
    """Run a second of silence through: torch's first calls are slow and not to be timed."""
    silence = next(codec.parameters()).new_zeros(1, 1, codec.sample_rate)
    with torch.inference_mode():
        codec.decode(codec.encode(silence))


def ladder(codec: Codec) -> tuple[int, ...]:
    """One codebook, a quarter, half and all of them: what is evaluated unless told otherwise."""
    whole = codec.num_codebooks
    return tuple(sorted({1, max(1, whole // 4), max(1, whole // 2), whole}))


def _find(
    sources: str | Path | Iterable[str | Path], unreadable: dict[str, str]
) -> dict[Path, Path]:
    """Each file, and its path from the folder that was named, below the folder's name if several
    were. A source that gives no file, or a folder that cannot be listed, goes into ``unreadable``.
    """
    several = [sources] if isinstance(sources, str | Path) else list(sources)
    files: dict[Path, Path] = {}

    def report(folder: Path, line: str) -> None:
        unreadable[str(folder)] = line

    for source in map(Path, several):
        try:
            found = find_audio(source, report)
        except CodecError as error:
            unreadable[str(source)] = str(error)
            continue
        folder = source.is_dir()
        root = source if folder else source.parent
        top = source.resolve().name if folder and len(several) > 1 else ""
        for file in found:
            files.setdefault(file, Path(top, file.relative_to(root)))
    if not files:
        raise CodecError(next(iter(unreadable.values()), "no files to evaluate"))
    return files


def _code_file(codec: Codec, file: Path, result: Evaluation) -> list[Pair[Row]]:
    """Load, encode and decode a file and count its codes: a pair for each number of codebooks."""
    counts, beam = result.num_codebooks, result.beam
    reference, _ = load_audio(file, codec.sample_rate)
    channels, samples = reference.shape
    audio = reference[:, None].to(codec.device, codec.dtype)
    encode = partial(codec.encode, beam=beam)
    whole, whole_time = _timed(encode, audio, counts[-1])
    found = count_codes(whole.numpy(), codec.codebook_sizes)
    for total, new in zip(result.code_counts, found, strict=True):
        total += new
    pairs: list[Pair[Row]] = []
    for count in counts:
        codes, encode_time = whole[:, :count], whole_time
        if beam > 1 and count < counts[-1]:
            codes, encode_time = _timed(encode, audio, count)
        stored, payload, total_bytes = _through_token_file(codec, codes, samples)
        decoded, decode_time = _timed(codec.decode, stored.to(codec.device), samples)
        row = Row(str(file), samples / codec.sample_rate, channels, num_codebooks=count)
        if samples:
            span = channels * row.seconds
            row.payload_kbps, row.file_kbps = 8e-3 * payload / span, 8e-3 * total_bytes / span
            row.encode_factor, row.decode_factor = encode_time / span, decode_time / span
        reconstruction = decoded[:, 0].float().numpy()
        pairs.append(Pair(row, reconstruction, reference.numpy(), codec.sample_rate))
    return pairs


@contextmanager
def _num_threads(threads: int) -> Iterator[None]:
    """PyTorch with so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timed(
    step: Callable[[Tensor, int], Tensor], tensor: Tensor, argument: int
) -> tuple[Tensor, float]:
    """What ``codec.encode`` or ``codec.decode`` gives, on the CPU, and the seconds it took."""
    start = time.perf_counter()
    with torch.inference_mode():
        result = step(tensor, argument).cpu()
    return result, time.perf_counter() - start


def _through_token_file(codec: Codec, codes: Tensor, num_samples: int) -> tuple[Tensor, float, int]:
    """Codes ``[C, K, F]`` as a token file gives them back; bytes of the codes and of the file."""
    header = TokenHeader(
        model=codec.name,
        fingerprint=codec.fingerprint or "0" * 16,  # a codec that was never saved has none
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        original_sample_rate=codec.sample_rate,
        channels=codes.shape[0],
        codebook_sizes=codec.codebook_sizes[: codes.shape[1]],
    )
    with TemporaryDirectory() as folder:
        path = Path(folder, "codes.tok")
        with TokenWriter(path, header) as writer:
            writer.write(codes.numpy())
            writer.finish(num_samples)
        with TokenFile(path) as tokens:
            return torch.from_numpy(tokens.read()), tokens.payload_bytes, tokens.num_bytes
