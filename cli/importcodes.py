"""`codec import-codes`: token files from files of NumPy, JSON or Parquet."""

from __future__ import annotations

from pathlib import Path

import click

from audiocodec.codefiles.registry import FORMATS

from .lists import files_from_option
from .options import (
    coding_option,
    jobs_option,
    json_option,
    model_option,
    overwrite_option,
    resolve_jobs,
)


@click.command()
@click.argument("paths", nargs=-1, metavar="IN... OUT", type=click.Path())
@files_from_option
@click.option(
    "--like",
    metavar="FILE.tok",
    type=click.Path(),
    help="Take model, sample rates and length from this token file, not from IN.",
)
@coding_option
@model_option
@jobs_option
@overwrite_option
@json_option("files (source, target, seconds, num_samples, ...), skipped, failures.")
def command(
    paths: tuple[str, ...],
    files_from: str | None,
    like: str | None,
    coding: str | None,
    model: str,
    jobs: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn codes of other programs into token files.

    IN is a .npy, .npz, .json or .parquet file that codec export-codes wrote, or a folder of them;
    OUT a .tok file, or a folder that mirrors the tree of IN. What was exported and not changed
    becomes the same token file, byte by byte, in the coding that it had; --coding gives another.

    Codes may be changed in between, or come from a language model: [channels, codebooks, frames]
    integers. With another number of frames, OUT is as long as all frames. Files that say nothing
    of their model, such as a .npy without its .npy.json, need --like.

    --model is the model that made the codes; its context model writes context coding.

    \b
    codec import-codes out.npz again.tok
    codec import-codes sampled.npy sampled.tok --like prompt.tok
    codec import-codes arrays/ tokens/
    """
    if len(paths) + bool(files_from) < 2:
        raise click.UsageError("name IN and OUT: a file of codes, and the token file to write.")
    if "-" in paths:
        raise click.UsageError("import-codes reads and writes files; - is for encode and decode")
    from audiocodec.batch.plan import Job
    from audiocodec.batch.rewrites import check_newer
    from audiocodec.codefiles.conversion import find_code_files, import_codes
    from audiocodec.progress import Progress
    from audiocodec.results import FileResult
    from audiocodec.tokens import SUFFIX

    from .convert import convert, make_plan
    from .info import context_of

    context = context_of(model)

    def name(source: Path) -> str:
        return f"{source.stem}{SUFFIX}"

    def work(job: Job, progress: Progress) -> FileResult:
        return import_codes(job.source, job.target, like, coding, context)

    def check_done(job: Job) -> None:
        check_newer(job.target, job.source)

    plan = make_plan(
        paths,
        files_from,
        lambda path: path.suffix.lower() in FORMATS,
        find_code_files,
        name,
        name,
        [SUFFIX],
    )
    convert(plan, work, overwrite, as_json, check_done, None, resolve_jobs(jobs), threads=None)
