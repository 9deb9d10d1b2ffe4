"""`codec tokenize`: a corpus to shards of tokens."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiocodec.tokenising.formats.registry import FORMATS

from .options import (
    beam_option,
    device_option,
    engine_option,
    jobs_option,
    json_option,
    model_option,
    num_codebooks_option,
    open_codec,
    quiet,
    remark,
    resolve_device,
    resolve_jobs,
    shard_option,
    use_threads,
)

if TYPE_CHECKING:
    from audiocodec.tokenising.ranks import Rank
    from audiocodec.tokenising.run import Outcome
    from audiocodec.tokenising.settings import Settings
    from audiocodec.tokenising.shard import Progress


@click.command()
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("folder", metavar="OUT", type=click.Path())
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    default="parquet",
    show_default=True,
    help="Shards as Parquet (extra `parquet`) or WebDataset tars; or a .npy or .tok file for each "
    "utterance.",
)
@num_codebooks_option
@model_option
@device_option
@engine_option
@jobs_option
@click.option(
    "--exact",
    is_flag=True,
    help="Compute in float64: the codes do not depend on machine, device, engine or batch; slower.",
)
@beam_option
@click.option(
    "--batch-seconds",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Encode short utterances of similar length together, in padded batches of S seconds; 0: "
    "each alone. Default: 160 on a GPU, 0 on a CPU, where batches gain little.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Utterances in a shard; what is lost at most when a run is killed. Default: 1000.",
)
@shard_option
@click.option(
    "--runner",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where shards are made: here, or on a Ray cluster (extra `ray`).",
)
@click.option(
    "--address",
    default="",
    metavar="HOST:PORT",
    help="With --runner ray: a running cluster. Default: that of RAY_ADDRESS, or else one is "
    "started on this machine.",
)
@click.option("--retry", is_flag=True, help="Make shards again that have unreadable utterances.")
@json_option("made, kept, missing (shards), utterances, seconds, errors, elapsed.")
def command(
    source: str,
    folder: str,
    format_name: str,
    num_codebooks: int | None,
    model: str,
    device: str,
    engine: str,
    jobs: int | None,
    exact: bool,
    beam: int,
    batch_seconds: float | None,
    shard_size: int | None,
    shard: str | None,
    runner: str,
    address: str,
    retry: bool,
    as_json: bool,
) -> None:
    """Turn a corpus into shards of tokens.

    IN is a folder of audio files, a list of paths (.txt), a JSONL manifest (path, and optionally
    id, offset, duration, speaker, text, split), or WebDataset .tar or Parquet files, alone or in a
    folder. Audio is mixed to mono at the model's rate. OUT is a new folder, or one that the same
    command began: finished shards are kept, and the rest is made. The result is the same to the
    byte, however often the command was interrupted, and with any number of jobs.

    OUT/errors.jsonl has the utterances that could not be read, with the reason. They do not stop
    the others; the exit status is 1. OUT/ledger has the settings, and a checksum for each shard:
    `codec verify OUT` compares. A second run on the same OUT is refused while one is at work.

    Several processes or machines that see the same OUT share the work, each with its --shard, or
    started by torchrun or srun.

    With --runner ray, actors of a Ray cluster make the shards, --jobs at a time (by default one on
    each GPU or core), to the same bytes. A worker that dies is replaced. IN, OUT and the model must
    have the same paths on all machines.

    IN may be a tokenised corpus: then OUT has the same codes in another format or, with -n, with
    the first codebooks only, without touching audio.

    \b
    codec tokenize speech/ tokens/                      Parquet for datasets, pandas, DuckDB
    codec tokenize train.jsonl tokens/ --format webdataset -n 6
    codec tokenize speech/ tokens/ --shard 0/2          beside --shard 1/2 on another machine
    srun -n 8 codec tokenize speech/ tokens/            each rank makes its part
    codec tokenize speech/ tokens/ --runner ray --address 10.0.0.1:6379
    codec tokenize tokens/ tokens3/ -n 3                12 codebooks become 3
    codec verify tokens/                                are all shards whole?
    """
    if "" in (source, folder):
        raise click.UsageError("a path is empty; is a variable of your script not set?")
    from audiocodec.corpus.opening import open_corpus
    from audiocodec.tokenising.encoding import BATCH_SECONDS
    from audiocodec.tokenising.formats.registry import shard_format
    from audiocodec.tokenising.ledger import Ledger
    from audiocodec.tokenising.ranks import find_rank
    from audiocodec.tokenising.rewriting import TokenCorpus
    from audiocodec.tokenising.run import rewrite, tokenize
    from audiocodec.tokenising.settings import SHARD_SIZE, Settings

    shard_format(format_name)
    rank, target = find_rank(shard), Path(folder)
    started = time.perf_counter()
    if Ledger(Path(source)).exists():
        if exact or retry or shard_size or batch_seconds is not None or beam != 1:
            raise click.UsageError("IN is a tokenised corpus: of its codes, -n and --format choose")
        tokens = TokenCorpus(Path(source))
        settings = tokens.settings.cut(num_codebooks or tokens.settings.num_codebooks, format_name)
        announce(rank, settings)
        with hours_bar(rank, settings) as progress:
            outcome = rewrite(tokens, settings, target, rank, progress)
    else:
        corpus = open_corpus(Path(source))
        device = resolve_device(device, engine)
        use_threads(1)  # float32 codes may depend on their number
        codec = open_codec(model, own_gpu(device, rank), engine, exact)
        if batch_seconds is None:
            batch_seconds = BATCH_SECONDS.get(codec.device.type, 0.0)
        settings = Settings.of(
            codec,
            corpus,
            format_name,
            num_codebooks,
            beam,
            batch_seconds,
            shard_size or SHARD_SIZE,
            engine,
        )
        announce(rank, settings)
        with hours_bar(rank, settings) as progress:
            if runner == "ray":
                from audiocodec.tokenising.ray.cluster import Cluster
                from audiocodec.tokenising.ray.run import tokenize_on_ray

                del codec  # the actors have it
                cluster = Cluster(address, jobs, model, device, engine, exact)
                outcome = tokenize_on_ray(corpus, settings, cluster, target, rank, retry, progress)
            else:
                workers = resolve_jobs(jobs, threads=rank.local_count)
                outcome = tokenize(corpus, settings, codec, target, rank, workers, retry, progress)
    report(outcome, target, time.perf_counter() - started, as_json)


def own_gpu(device: str, rank: Rank) -> str:
    """Of several GPUs, that of this rank among those of its machine."""
    if device != "cuda":
        return device
    import torch

    return f"cuda:{rank.local % torch.cuda.device_count()}"


def announce(rank: Rank, settings: Settings) -> None:
    """Say which part this is: a variable that was left over would hide the others."""
    if rank.count > 1:
        shards = rank.shards(settings.num_shards)
        remark(
            f"part {rank.index} of {rank.count} ({rank.source}): {len(shards)} of "
            f"{settings.num_shards} shards"
        )


@contextmanager
def hours_bar(rank: Rank, settings: Settings) -> Iterator[Progress]:
    """A bar of the rank's utterances, with hours of audio and how many a second."""
    from audiocodec.progress import progress_bar

    shards = rank.shards(settings.num_shards)
    total = sum(stop - start for start, stop in map(settings.slice, shards))
    started = time.perf_counter()
    hours = 0.0
    with progress_bar(total, "utterances") as bar:

        def progress(utterances: int, seconds: float) -> None:
            nonlocal hours
            hours += seconds / 3600
            rate = hours / (time.perf_counter() - started)
            bar.set_postfix_str(f"{hours:.2f} h of audio, {rate:.3f} h/s", refresh=False)
            bar.update(utterances)

        yield progress


def report(outcome: Outcome, folder: Path, elapsed: float, as_json: bool) -> None:
    """Print what was done, and exit with 1 if utterances were unreadable."""
    from audiocodec.tokenising.ledger import ERRORS

    if as_json:
        click.echo(json.dumps(dataclasses.asdict(outcome) | {"elapsed": elapsed}, indent=2))
    elif not quiet():
        shards = f"{folder}: shards made: {outcome.made}"
        shards += f", there already: {outcome.kept}" if outcome.kept else ""
        click.echo(
            f"{shards}; {outcome.utterances} utterances, {outcome.seconds / 3600:.2f} h of audio, "
            f"{outcome.seconds / elapsed:.0f}x real time"
        )
    if outcome.missing:
        remark(f"{outcome.missing} shards, of other parts, are not finished")
    if outcome.errors:
        click.echo(
            f"error: {outcome.errors} utterances could not be tokenised; "
            f"{folder / ERRORS} has the reasons",
            err=True,
        )
        click.get_current_context().exit(1)
