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
from tqdm import tqdm

from audiocodec import metrics
from audiocodec.audio import find_audio, load_audio
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.evaluation.mos import load_distill_mos
from audiocodec.evaluation.result import SCORES, Evaluation, Row
from audiocodec.evaluation.scoring import Pair, score_pairs
from audiocodec.tokenfile import TokenFile, TokenHeader, TokenWriter

FILES_PER_TURN = 8  # for each worker: decoded audio that waits in memory to be scored


def evaluate(
    codec: Codec,
    sources: str | Path | Iterable[str | Path],
    num_codebooks: Sequence[int] | None = None,
    jobs: int | None = None,
    mos: bool = False,
    progress: bool = False,
    beam: int = 1,
    threads: int = 1,
) -> Evaluation:
    """Encode, decode and score sound files, or all of those in folders.

    ``num_codebooks`` defaults to :func:`ladder`, ``jobs`` (processes that score) to the number of
    cores; ``mos`` adds DistillMOS; ``beam`` is as in :meth:`Codec.encode`; the codec runs
    on so many CPU ``threads``, and PyTorch has as many afterwards as it had before. A file that
    cannot be read, or a score that a file cannot have, is named in the result's ``failures`` and
    the rest is done. ``progress`` draws a bar on stderr.

    Raises:
        CodecError: nothing there, no file could be read, more codebooks than the codec has, no
            beam, or DistillMOS is not installed.
    """
    from joblib import cpu_count

    counts = tuple(sorted({codec.resolve_num_codebooks(n) for n in num_codebooks or ladder(codec)}))
    files = _find(sources)
    jobs = jobs or cpu_count()
    if mos:
        load_distill_mos()
    with _num_threads(threads):
        warm_up(codec)
    parameter = next(codec.parameters())
    result = Evaluation(
        model=codec.name,
        fingerprint=codec.fingerprint,
        sample_rate=codec.sample_rate,
        device=parameter.device.type,
        num_codebooks=counts,
        beam=beam,
        scores=tuple(name for name in SCORES if mos or name != "distill_mos"),
        code_counts=[np.zeros(n, np.int64) for n in codec.codebook_sizes[: counts[-1]]],
    )
    with tqdm(
        total=len(files) * len(counts), desc="evaluate", unit="score", disable=not progress
    ) as bar:
        for start in range(0, len(files), FILES_PER_TURN * jobs):
            waiting: list[Pair] = []
            with _num_threads(threads):
                for file in files[start : start + FILES_PER_TURN * jobs]:
                    try:
                        waiting += _code_file(codec, file, counts, beam, result)
                    except CodecError as error:
                        result.unreadable[str(file)] = str(error)
                        bar.update(len(counts))
            for row in score_pairs(waiting, codec.sample_rate, jobs, mos):
                result.rows.append(row)
                bar.update()
    if not result.rows:
        raise CodecError(f"no file could be read; the first: {result.failures[0]}")
    return result


def warm_up(codec: Codec) -> None:
    """Run a second of silence through: torch's first calls are slow and not to be timed."""
    silence = next(codec.parameters()).new_zeros(1, 1, codec.sample_rate)
    with torch.inference_mode():
        codec.decode(codec.encode(silence))


def ladder(codec: Codec) -> tuple[int, ...]:
    """One codebook, a quarter, half and all of them: what is evaluated unless told otherwise."""
    whole = codec.num_codebooks
    return tuple(sorted({1, max(1, whole // 4), max(1, whole // 2), whole}))


def _find(sources: str | Path | Iterable[str | Path]) -> list[Path]:
    several = [sources] if isinstance(sources, str | Path) else sources
    files = [file for source in several for file in find_audio(source)]
    if not files:
        raise CodecError("no files to evaluate")
    return list(dict.fromkeys(files))


def _code_file(
    codec: Codec, file: Path, counts: tuple[int, ...], beam: int, result: Evaluation
) -> list[Pair]:
    """Load, encode and decode a file and count its codes: a pair for each number of codebooks."""
    parameter = next(codec.parameters())
    reference, _ = load_audio(file, codec.sample_rate)
    channels, samples = reference.shape
    audio = reference[:, None].to(parameter)
    encode = partial(codec.encode, beam=beam)
    whole, whole_time = _timed(encode, audio, counts[-1])
    found = metrics.count_codes(whole.numpy(), codec.codebook_sizes)
    for total, new in zip(result.code_counts, found, strict=True):
        total += new
    pairs = []
    for count in counts:
        codes, encode_time = whole[:, :count], whole_time
        if beam > 1 and count < counts[-1]:
            codes, encode_time = _timed(encode, audio, count)
        stored, payload, total_bytes = _through_token_file(codec, codes, samples)
        heard, decode_time = _timed(codec.decode, stored.to(parameter.device), samples)
        row = Row(str(file), count, samples / codec.sample_rate, channels)
        if samples:
            span = channels * row.seconds
            row.payload_kbps, row.file_kbps = 8e-3 * payload / span, 8e-3 * total_bytes / span
            row.encode_factor, row.decode_factor = encode_time / span, decode_time / span
        pairs.append(Pair(row, heard[:, 0].float().numpy(), reference.numpy()))
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
