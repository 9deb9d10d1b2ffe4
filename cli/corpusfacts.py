"""The description of a tokenised corpus."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .facts import Report, codebook_lines, hours, sizes


def is_corpus(path: Path) -> bool:
    """Whether ``path`` is a folder that `codec tokenize` wrote."""
    from audiocodec.tokenising.ledger import Ledger

    return Ledger(path).exists()


def one_corpus(given: str) -> Report:
    """A tokenised corpus: its settings, hours and bytes, and the use of its codebooks.

    Raises:
        CodecError: a shard is missing or damaged.
    """
    from audiocodec.progress import progress_bar
    from audiocodec.tokenising.rewriting import TokenCorpus
    from audiocodec.tokenising.statistics import corpus_stats

    corpus = TokenCorpus(Path(given))
    settings = corpus.settings
    with progress_bar(settings.utterances, "utterances") as bar:
        stats = corpus_stats(corpus, bar.update)
    facts = {
        "folder": given,
        **settings.as_dict(),
        "num_shards": settings.num_shards,
        "num_codebooks": settings.num_codebooks,
        "frame_rate": settings.frame_rate,
        "bitrate": settings.bitrate,
        "file_bitrate": stats.file_bitrate,
        "hours": stats.seconds / 3600,
        **dataclasses.asdict(stats),
    }
    whole = f", {stats.file_bitrate / 1000:.4g} kbit/s the shards" if stats.file_bitrate else ""
    lines = [
        given,
        f"  model     {settings.model} ({settings.fingerprint}), {settings.arithmetic}"
        + (f", beam {settings.beam}" if settings.beam > 1 else ""),
        f"  corpus    {stats.utterances} utterances, {hours(stats.seconds)} at "
        f"{settings.sample_rate} Hz"
        + (f"; {stats.errors} could not be read" if stats.errors else ""),
        f"  shards    {stats.shards} of {settings.num_shards}, {settings.format}, "
        f"{settings.shard_size} utterances each",
        f"  codes     {stats.num_frames} frames, {settings.frame_rate:g} a second, "
        f"{settings.num_codebooks} codebooks of {sizes(list(settings.codebook_sizes))}",
        f"  bitrate   {settings.bitrate / 1000:.4g} kbit/s of codes{whole}",
        f"  size      {stats.file_bytes} bytes",
        *codebook_lines(stats.codebooks),
    ]
    unfinished = settings.num_shards - stats.shards
    messages = [f"warning: {given}: {unfinished} shards are not finished"] if unfinished else []
    return Report(facts, lines, messages)
