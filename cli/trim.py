"""`codec trim`: a part of a token file, without touching audio."""

from __future__ import annotations

from pathlib import Path

import click

from .lists import files_from_option
from .options import jobs_option, json_option, model_option, overwrite_option, resolve_jobs


@click.command()
@click.argument("paths", nargs=-1, metavar="IN... OUT", type=click.Path())
@files_from_option
@click.option(
    "--start",
    type=float,
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Where the part begins; rounded down to the beginning of a frame.",
)
@click.option(
    "--end",
    type=float,
    metavar="SECONDS",
    help="Where the part ends; rounded up to the end of a frame. Default: the end of IN.",
)
@model_option
@jobs_option
@overwrite_option
@json_option("files (source, target, start, seconds, num_samples, ...), skipped, failures.")
def command(
    paths: tuple[str, ...],
    files_from: str | None,
    start: float,
    end: float | None,
    model: str,
    jobs: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Cut a part out of token files: seconds --start to --end.

    IN is a .tok file or a folder of them, OUT a .tok file, or a folder that mirrors the tree of IN.
    The codes of the part, their coding and their model stay the same. The part has whole frames (20
    ms with the bundled model), so that all that was asked for is in it; what is printed and --json
    say where it begins and how long it is. Where it reaches the end of IN, it ends with the last
    sample of IN.

    Decoded, a part begins without the audio before it, and so differs from the same place of the
    whole, for up to a second with the bundled model. Begin earlier where that matters.

    --model is the model that made the codes; it is needed for context coding with a context model
    of your own.

    \b
    codec trim in.tok part.tok --start 1.5 --end 3
    codec trim in.tok rest.tok --start 60             to the end
    codec trim tokens/ prompts/ --end 3               the first three seconds of each
    """
    if len(paths) + bool(files_from) < 2:
        raise click.UsageError("name IN and OUT: a token file is not replaced by its own part.")
    if "-" in paths:
        raise click.UsageError("trim reads and writes files; - is for encode and decode")
    from audiocodec.batch.plan import Job
    from audiocodec.batch.rewrites import check_rewritten
    from audiocodec.progress import Progress
    from audiocodec.results import FileResult
    from audiocodec.tokens import SUFFIX, TokenFile, find_tokens
    from audiocodec.trimming import find_part, trim_file

    from .convert import convert, make_plan
    from .info import context_of

    context = context_of(model)

    def name(source: Path) -> str:
        return source.name

    def seconds(job: Job) -> float:
        with TokenFile(job.source, context) as tokens:
            part = find_part(tokens, start, end)
            return (part.stop - part.start) / tokens.header.frame_rate

    def work(job: Job, progress: Progress) -> FileResult:
        return trim_file(job.source, job.target, start, end, context, progress)

    def check_done(job: Job) -> None:
        with TokenFile(job.source, context) as tokens:
            num_samples = find_part(tokens, start, end).num_samples
            check_rewritten(job.target, tokens.header, num_samples, context)

    plan = make_plan(
        paths,
        files_from,
        lambda path: path.suffix.lower() == SUFFIX and path != Path(paths[-1]),
        find_tokens,
        name,
        name,
        [SUFFIX],
    )
    workers = resolve_jobs(jobs)
    convert(plan, work, overwrite, as_json, check_done, seconds, workers, threads=None)
