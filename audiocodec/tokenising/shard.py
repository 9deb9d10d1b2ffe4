"""A shard: the contract of a tokenised corpus.

A slice of the corpus -> its codes -> a temporary file, which is flushed to the disk and renamed ->
a record in the ledger. A process that is killed on the way leaves no shard without its record, and
the next one makes the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.runtime import RuntimeCodec
from audiocodec.threads import Stop
from audiocodec.tokenising.encoding import UtteranceEncoder
from audiocodec.tokenising.formats.registry import shard_format
from audiocodec.tokenising.ledger import Ledger, ShardRecord
from audiocodec.tokenising.output import OutputFile
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Row, Tokenised, Unreadable

Progress = Callable[[int, float], object]
"""Called with the number of utterances since the last call, and their seconds of audio."""


def make_shard(
    corpus: Corpus,
    index: int,
    settings: Settings,
    codec: RuntimeCodec,
    folder: Path,
    workers: int = 1,
    stop: Stop | None = None,
    progress: Progress | None = None,
) -> ShardRecord:
    """Tokenise one slice of a corpus: write its shard and its record into ``folder``.

    The bytes depend on the corpus, the settings and the codec alone. Nothing of the process is used
    or changed, so that any process that sees ``folder`` may call this, at any time.

    Args:
        settings: those of :meth:`Settings.of` for this corpus and codec, with which
            :meth:`Ledger.begin` began the folder.
        workers: threads that encode. PyTorch's own number of threads should be one.

    Raises:
        CodecError: the shard cannot be written, as on a full disk, or the corpus has changed. An
            utterance that cannot be read is no error; the record has it.
    """
    start, end = settings.slice(index)
    rows = UtteranceEncoder(codec, settings, workers, stop).rows(corpus.utterances(start, end))
    return write_shard(rows, index, settings, folder, progress)


def write_shard(
    rows: Generator[Row, None, None],
    index: int,
    settings: Settings,
    folder: Path,
    progress: Progress | None = None,
) -> ShardRecord:
    """Write the shard of ``rows``, and then its record. Errors as in :func:`make_shard`."""
    made: list[OutputFile] = []
    errors: list[Unreadable] = []
    utterances = num_samples = num_frames = 0
    writing = shard_format(settings.format).writer(folder, index, settings, made)
    with closing(rows), writing as writer:
        for row in rows:
            if isinstance(row, Tokenised):
                writer.add(row)
                utterances += 1
                num_samples += row.num_samples
                num_frames += row.codes.shape[1]
            else:
                errors.append(row)
            if progress:
                seconds = row.num_samples if isinstance(row, Tokenised) else 0
                progress(1, seconds / settings.sample_rate)
    record = ShardRecord(index, utterances, num_samples, num_frames, tuple(made), tuple(errors))
    Ledger(folder).write(record)
    return record
