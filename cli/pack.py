"""`codec pack`: a corpus as shards of 16-bit samples, for training."""

from __future__ import annotations

from pathlib import Path

import click

from .options import jobs_option, quiet, resolve_jobs, shard_option


@click.command()
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("folder", metavar="OUT", type=click.Path())
@click.option(
    "--sample-rate",
    type=click.IntRange(8000, 192_000),
    default=16000,
    show_default=True,
    metavar="HZ",
    help="That of the codec that is trained on it.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Utterances in a shard; what is lost at most when the command is killed.",
)
@shard_option
@jobs_option
def command(
    source: str,
    folder: str,
    sample_rate: int,
    shard_size: int,
    shard: str | None,
    jobs: int | None,
) -> int:
    """Decode a corpus once, into shards that training reads without decoding.

    IN is a folder of audio files, a list of paths (.txt), a JSONL manifest, or WebDataset .tar or
    Parquet files, alone or in a folder. OUT gets .npy files of 16-bit samples, mono, of N
    utterances each, and packed.json. An hour at 16 kHz takes 115 MB. Name OUT as data.root, or as
    data.validation, of a recipe.

    A shard appears whole or not at all. The same command makes those that are missing, so it may
    be killed at any time. An utterance that cannot be read is an error line and left out, and the
    exit code is 1.

    \b
    codec pack corpus.jsonl packed/
    codec pack shards/ packed/ --jobs 8
    codec train speech_16khz --set data.root=packed
    srun -n 16 codec pack corpus.jsonl packed/           each makes its part
    """
    from audiocodec.corpus.opening import open_corpus
    from audiocodec.corpus.packing.run import begin_packing, pack
    from audiocodec.progress import progress_bar
    from audiocodec.tokenising.ranks import find_rank

    corpus = open_corpus(Path(source))
    settings = begin_packing(corpus, Path(folder), sample_rate, shard_size)
    shards = find_rank(shard).shards(settings.num_shards)
    missing = [n for n in shards if not settings.path(Path(folder), n).is_file()]
    count = sum(stop - start for start, stop in map(settings.slice, missing))
    unreadable: list[str] = []
    total = 0.0

    def skip(reason: str) -> None:
        unreadable.append(reason)
        click.echo(f"error: {reason}", err=True)

    with progress_bar(count, "utterances", "packing") as bar:

        def progress(utterances: int, seconds: float) -> None:
            nonlocal total
            total += seconds
            bar.update(utterances)

        pack(corpus, settings, Path(folder), missing, resolve_jobs(jobs), skip, progress)
    if not quiet():
        click.echo(
            f"{folder}: shards: {len(missing)} made, {len(shards) - len(missing)} there before; "
            f"{total / 3600:.2f} h packed, {len(unreadable)} of {count} utterances unreadable"
        )
    return 1 if unreadable else 0
