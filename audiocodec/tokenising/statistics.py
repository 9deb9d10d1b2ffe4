"""Statistics of a tokenised corpus: hours, bytes, and use of the codebooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiocodec.tokenising.rewriting import TokenCorpus
from audiocodec.tokens.rates import mean_bitrate
from audiocodec.tokens.stats import MOST_ENTRIES, count_codes, entropy, perplexity, usage


@dataclass(frozen=True)
class CorpusStats:
    """Sums over the finished shards of a tokenised corpus.

    Attributes:
        shards: finished.
        utterances, errors: with and without codes.
        file_bytes: bytes of the shards.
        codebooks: size, usage, perplexity and entropy of each; ``None`` if they are too large.
    """

    shards: int
    utterances: int
    errors: int
    seconds: float
    num_frames: int
    file_bytes: int
    codebooks: list[dict[str, Any]] | None

    @property
    def file_bitrate(self) -> float | None:
        """Mean bits per second of the shards; ``None`` for 0 s of audio."""
        return mean_bitrate(self.file_bytes, self.seconds)


def corpus_stats(
    corpus: TokenCorpus, progress: Callable[[int], object] | None = None
) -> CorpusStats:
    """Read all finished shards and count their codes.

    Args:
        progress: called with the number of utterances since the last call.

    Raises:
        CodecError: a shard is missing or damaged.
    """
    settings = corpus.settings
    sizes = settings.codebook_sizes if sum(settings.codebook_sizes) <= MOST_ENTRIES else ()
    counts = [np.zeros(size, np.int64) for size in sizes]
    records = list(corpus.ledger.records(settings))
    for record in records if counts else ():
        for row in corpus.rows(record.index):
            for total, new in zip(counts, count_codes(row.codes, sizes), strict=True):
                total += new
            if progress:
                progress(1)
    return CorpusStats(
        shards=len(records),
        utterances=sum(record.utterances for record in records),
        errors=sum(len(record.errors) for record in records),
        seconds=sum(record.num_samples for record in records) / settings.sample_rate,
        num_frames=sum(record.num_frames for record in records),
        file_bytes=sum(file.num_bytes for record in records for file in record.files),
        codebooks=[
            {
                "size": len(total),
                "usage": usage(total),
                "perplexity": perplexity(total),
                "entropy_bits": entropy(total),
            }
            for total in counts
        ]
        if counts
        else None,
    )
