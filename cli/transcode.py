"""`codec transcode`: token files rewritten, without touching audio."""

from __future__ import annotations

from pathlib import Path

import click

from .lists import files_from_option
from .options import (
    coding_option,
    jobs_option,
    json_option,
    model_option,
    num_codebooks_option,
    overwrite_option,
    resolve_jobs,
)


@click.command()
@click.argument("paths", nargs=-1, metavar="IN... OUT", type=click.Path())
@files_from_option
@num_codebooks_option
@coding_option
@model_option
@jobs_option
@overwrite_option
@json_option("files (source, target, seconds, bitrate, ...), skipped, failures.")
def command(
    paths: tuple[str, ...],
    files_from: str | None,
    num_codebooks: int | None,
    coding: str | None,
    model: str,
    jobs: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Rewrite token files with fewer codebooks or another coding.

    IN is a .tok file or a folder of them, OUT a .tok file, or a folder that mirrors the tree of IN.
    The codes that remain are the same, so decoding gives the same audio. Without --coding each file
    keeps its own. A file that was cut short becomes a whole file up to the cut, with a warning and
    exit status 1. An output that exists is not replaced without --overwrite; one whose header or
    length is not what it would be is named, and the exit status is 1.

    --model is the model that made the codes; its context model writes context coding. Files of
    another model are refused then.

    \b
    codec transcode in.tok small.tok --coding context    a quarter less, the same codes
    codec transcode in.tok plain.tok --coding fixed      for readers of fixed coding
    codec transcode tokens/ fewer/ -n 3                  the first three codebooks
    """
    if len(paths) + bool(files_from) < 2:
        raise click.UsageError("name IN and OUT: a token file is not replaced by its own rewrite.")
    from audiocodec.batch.plan import Job
    from audiocodec.batch.rewrites import check_rewritten
    from audiocodec.errors import CodecError
    from audiocodec.progress import Progress
    from audiocodec.results import FileResult
    from audiocodec.tokens import SUFFIX, TokenFile, find_tokens
    from audiocodec.transcoding import transcode_file, transcoded

    from .convert import convert, make_plan
    from .info import context_of

    def seconds(job: Job) -> float:
        with TokenFile(job.source, context) as tokens:
            return tokens.seconds

    def name(source: Path) -> str:
        return source.name

    if "-" in paths:
        raise click.UsageError("transcode reads and writes files; - is for encode and decode")
    context = context_of(model)
    if coding == "context" and context is None:
        raise CodecError(f"model {model}: has no context model; make one with codec train-context")
    made_by = _fingerprint(model) if coding == "context" else None

    def work(job: Job, progress: Progress) -> FileResult:
        return transcode_file(
            job.source, job.target, num_codebooks, coding, context, progress, made_by
        )

    plan = make_plan(
        paths,
        files_from,
        lambda path: path.suffix.lower() == SUFFIX and path != Path(paths[-1]),
        find_tokens,
        name,
        name,
        [SUFFIX],
    )

    def check_done(job: Job) -> None:
        with TokenFile(job.source, context) as tokens:
            header = transcoded(tokens, num_codebooks, coding, context, made_by)
            check_rewritten(job.target, header, tokens.num_samples, context)

    workers = resolve_jobs(jobs)
    convert(plan, work, overwrite, as_json, check_done, seconds, workers, threads=None)


def _fingerprint(model: str) -> str:
    """The fingerprint of a codec; what computes it needs PyTorch."""
    from audiocodec.checkpoint import find_model, fingerprint

    return fingerprint(find_model(model))
