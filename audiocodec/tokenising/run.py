"""Tokenising a corpus: the shards of one rank, those that are not finished yet, one after the
other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokenising.formats.registry import shard_format
from audiocodec.tokenising.ledger import Ledger, ShardRecord
from audiocodec.tokenising.output import write_text
from audiocodec.tokenising.ranks import Rank
from audiocodec.tokenising.rewriting import TokenCorpus, rewrite_shard
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.shard import Progress, make_shard

MakeShards = Callable[[Sequence[int], Settings, Path, Progress | None], Iterable[ShardRecord]]
"""Makes the shards of these numbers, in any order, with these settings in this folder."""


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes:
        made, kept: shards of this rank: made now, and finished before.
        missing: shards of other ranks that are not finished.
        utterances, seconds: of the shards made now; seconds of audio.
        errors: utterances without codes, of all ranks so far.
    """

    made: int
    kept: int
    missing: int
    utterances: int
    seconds: float
    errors: int


def tokenize(
    corpus: Corpus,
    settings: Settings,
    codec: RuntimeCodec,
    folder: Path,
    rank: Rank = Rank(),  # noqa: B008 - it cannot change
    workers: int = 1,
    retry: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Tokenise a corpus into ``folder``, or go on where an earlier run ended.

    Args:
        settings: of :meth:`Settings.of` for ``corpus`` and ``codec``.
        rank: makes its part of the shards. Ranks may work at the same time, on several machines.
        workers: threads that encode, for each of which PyTorch should use one.
        retry: make shards again that have utterances without codes.
        progress: called for each utterance, also of shards that were finished before.

    Raises:
        CodecError: ``folder`` holds something else or other settings, another run is at work on it,
            or a shard cannot be written. What was finished stays.
    """

    def make(
        indexes: Sequence[int], settings: Settings, folder: Path, progress: Progress | None
    ) -> Iterator[ShardRecord]:
        for index in indexes:
            yield make_shard(corpus, index, settings, codec, folder, workers, progress=progress)

    return make_shards(make, settings, folder, rank, retry, progress)


def rewrite(
    source: TokenCorpus,
    settings: Settings,
    folder: Path,
    rank: Rank = Rank(),  # noqa: B008 - it cannot change
    progress: Progress | None = None,
) -> Outcome:
    """Rewrite a tokenised corpus with :meth:`Settings.cut`. Otherwise as :func:`tokenize`."""

    def make(
        indexes: Sequence[int], settings: Settings, folder: Path, progress: Progress | None
    ) -> Iterator[ShardRecord]:
        for index in indexes:
            yield rewrite_shard(source, index, settings, folder, progress)

    return make_shards(make, settings, folder, rank, False, progress)


def make_shards(
    make: MakeShards,
    settings: Settings,
    folder: Path,
    rank: Rank,
    retry: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Make the shards of a rank that are not finished. Errors as in :func:`tokenize`."""
    ledger = Ledger(folder)
    ledger.begin(settings)
    for name, text in shard_format(settings.format).companions.items():
        if not (folder / name).is_file():
            write_text(folder, name, text)
    shards = rank.shards(settings.num_shards)
    todo: list[int] = []
    made = utterances = num_samples = 0
    with ledger.locked(shards.start, shards.stop):
        for index in shards:
            if not (record := finished(ledger, index, retry)):
                todo.append(index)
            elif progress:
                progress(record.utterances + len(record.errors), 0.0)
        for record in make(todo, settings, folder, progress):
            made += 1
            utterances += record.utterances
            num_samples += record.num_samples
    done, errors = ledger.write_errors(settings)
    return Outcome(
        made=made,
        kept=len(shards) - made,
        missing=settings.num_shards - done,
        utterances=utterances,
        seconds=num_samples / settings.sample_rate,
        errors=errors,
    )


def finished(ledger: Ledger, index: int, retry: bool = False) -> ShardRecord | None:
    """The record of a shard that need not be made again; ``None`` if it must be."""
    record = ledger.record(index)
    return record if record and ledger.is_done(index) and not (retry and record.errors) else None
