"""A corpus to shards of 16-bit samples (``codec pack``), in parallel and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0
from numpy.typing import NDArray

from audiocodec.corpus.packing.shards import PackedSettings, is_packed, to_int16
from audiocodec.corpus.reading import audio_blocks
from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.corpus.utterance import Utterance
from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing
from audiocodec.threads import Stop, in_order

Progress = Callable[[int, float], object]


def begin_packing(
    corpus: Corpus, folder: Path, sample_rate: int, shard_size: int
) -> PackedSettings:
    """Make ``folder``, or find that it was begun with the same settings.

    Raises:
        CodecError: it was begun with others, holds other files, or cannot be written.
    """
    settings = PackedSettings(sample_rate, corpus.digest, len(corpus), shard_size)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if is_packed(folder):
        before = PackedSettings.read(folder)
        if before.corpus != settings.corpus:
            raise CodecError(f"{folder}: was begun with another corpus; name another folder")
        if before != settings:
            raise CodecError(
                f"{folder}: was begun with --sample-rate {before.sample_rate} --shard-size "
                f"{before.shard_size}; use these, or name another folder"
            )
        return before
    if any(folder.iterdir()):
        raise CodecError(f"{folder}: holds other files; name a folder for this alone")
    settings.write(folder)
    return settings


def pack(
    corpus: Corpus,
    settings: PackedSettings,
    folder: Path,
    shards: Iterable[int],
    workers: int = 1,
    skipped: Callable[[str], object] = print,
    progress: Progress | None = None,
) -> int:
    """Make those of ``shards`` that are not there. Each file appears whole or not at all.

    Args:
        workers: threads that decode.
        skipped: called with a line for each utterance that cannot be read, which is left out.
        progress: called with the number of utterances since the last call, and their seconds.

    Returns:
        The number of shards that were made.

    Raises:
        CodecError: a shard cannot be written, or none of its utterances can be read.
    """
    stop, made = Stop(), 0

    def decode(utterance: Utterance) -> NDArray[np.int16] | str:
        blocks = []
        try:
            for block in audio_blocks(utterance, settings.sample_rate):
                stop.check()
                blocks.append(to_int16(block))
        except CodecError as error:
            return str(error)
        return np.concatenate(blocks)

    for shard in shards:
        target = settings.path(folder, shard)
        if target.is_file():
            continue
        length, reason = 0, ""
        utterances = corpus.utterances(*settings.slice(shard))
        with replacing(target) as temporary, writing(target), temporary.open("wb") as file:
            _write_header(file, 0)
            ahead = 1 if workers == 1 else 4 * workers
            with closing(in_order(decode, utterances, workers, stop, ahead)) as results:
                for samples in results:
                    if isinstance(samples, str):
                        reason = samples
                        skipped(samples)
                    else:
                        file.write(samples.tobytes())
                        length += len(samples)
                    if progress:
                        seconds = 0 if isinstance(samples, str) else len(samples)
                        progress(1, seconds / settings.sample_rate)
            if not length:
                raise CodecError(f"{target}: none of its utterances can be read ({reason})")
            file.seek(0)
            _write_header(file, length)
        made += 1
    return made


def _write_header(file: BinaryIO, length: int) -> None:
    """The header of a ``.npy`` file of ``length`` samples; it has the same size for any length."""
    values = header_data_from_array_1_0(np.zeros(0, "<i2"))
    write_array_header_1_0(file, {**values, "shape": (length,)})
