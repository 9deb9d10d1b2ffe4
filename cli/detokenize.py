"""`codec detokenize`: a tokenised corpus to audio files."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from .options import (
    device_option,
    engine_option,
    jobs_option,
    json_option,
    model_option,
    num_codebooks_option,
    open_codec,
    overwrite_option,
    quiet,
    resolve_device,
    resolve_jobs,
    use_threads,
)


@click.command()
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("folder", metavar="OUT", type=click.Path())
@click.option(
    "--format",
    "suffix",
    type=click.Choice(["wav", "flac"]),
    default="wav",
    show_default=True,
    help="Of the audio files.",
)
@num_codebooks_option
@model_option
@device_option
@engine_option
@jobs_option
@overwrite_option
@json_option("made, kept (files), seconds, elapsed.")
def command(
    source: str,
    folder: str,
    suffix: str,
    num_codebooks: int | None,
    model: str,
    device: str,
    engine: str,
    jobs: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn a tokenised corpus back into audio.

    IN is a folder that `codec tokenize` wrote, in any format. Each utterance becomes OUT/ID.wav,
    mono, 16-bit, at the model's rate. Files that are there already are kept without --overwrite.

    \b
    codec detokenize tokens/ decoded/
    codec detokenize tokens/ decoded/ -n 3 --format flac     with three of the codebooks
    """
    if "" in (source, folder):
        raise click.UsageError("a path is empty; is a variable of your script not set?")
    from audiocodec.progress import progress_bar
    from audiocodec.tokenising.decoding import detokenize
    from audiocodec.tokenising.rewriting import TokenCorpus

    corpus = TokenCorpus(Path(source))
    use_threads(1)
    codec = open_codec(model, resolve_device(device, engine), engine)
    total, started = 0.0, time.perf_counter()
    with progress_bar(corpus.settings.utterances, "utterances") as bar:

        def progress(utterances: int, seconds: float) -> None:
            nonlocal total
            total += seconds
            bar.update(utterances)

        made, kept = detokenize(
            corpus,
            codec,
            Path(folder),
            num_codebooks,
            f".{suffix}",
            overwrite,
            resolve_jobs(jobs),
            progress,
        )
    elapsed = time.perf_counter() - started
    if as_json:
        facts = {"made": made, "kept": kept, "seconds": total, "elapsed": elapsed}
        click.echo(json.dumps(facts, indent=2))
    elif not quiet():
        there = f", {kept} were there already (--overwrite replaces them)" if kept else ""
        click.echo(f"{made} files made{there}: {total / 3600:.2f} h of audio")
