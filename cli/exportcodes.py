"""`codec export-codes`: token files as files of NumPy, JSON or Parquet."""

from __future__ import annotations

from pathlib import Path

import click

from audiocodec.codefiles.registry import FORMATS

from .lists import files_from_option
from .options import (
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
@click.option(
    "--format",
    "kind",
    type=click.Choice([suffix[1:] for suffix in FORMATS]),
    default="npz",
    show_default=True,
    help="Of the files in a folder OUT. A single OUT has the format that its suffix names.",
)
@num_codebooks_option
@model_option
@jobs_option
@overwrite_option
@json_option("files (source, target, seconds, num_samples, ...), skipped, failures.")
def command(
    paths: tuple[str, ...],
    files_from: str | None,
    kind: str,
    num_codebooks: int | None,
    model: str,
    jobs: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the codes of token files for other programs.

    IN is a .tok file or a folder of them. OUT is a .npy, .npz, .json or .parquet file, or a folder
    that mirrors the tree of IN. Codes are [channels, codebooks, frames], as uint16 where all
    codebooks have at most 65536 entries. What the token file says of them is kept: model,
    fingerprint, sample rates, codebook sizes, number of samples, coding. In .npz each is an array,
    in .json a key and in .parquet a column; out.npy has them in out.npy.json beside it.
    `codec import-codes` turns OUT into the token file again.

    A whole corpus for training is better written by codec tokenize: many files in one shard.

    --model is the model that made the codes; it is needed for context coding with a context model
    of your own. A file that was cut short is exported up to the cut, with a warning and exit status
    1.

    \b
    codec export-codes in.tok out.npz            numpy.load("out.npz")["codes"]
    codec export-codes in.tok out.json -n 3      the first three codebooks
    codec export-codes tokens/ arrays/ --format npy
    codec export-codes in.tok out.parquet        extra `parquet`: pip install 'audiocodec[parquet]'
    """
    if len(paths) + bool(files_from) < 2:
        raise click.UsageError("name IN and OUT: a token file, and what to write.")
    if "-" in paths:
        raise click.UsageError("export-codes reads and writes files; - is for encode and decode")
    from audiocodec.batch.plan import Job
    from audiocodec.batch.rewrites import check_newer
    from audiocodec.codefiles.conversion import export_codes
    from audiocodec.progress import Progress
    from audiocodec.results import FileResult
    from audiocodec.tokens import SUFFIX, find_tokens

    from .convert import convert, make_plan
    from .info import context_of

    context = context_of(model)

    def name(source: Path) -> str:
        return f"{source.stem}.{kind}"

    def work(job: Job, progress: Progress) -> FileResult:
        return export_codes(job.source, job.target, num_codebooks, context)

    def check_done(job: Job) -> None:
        check_newer(job.target, job.source)

    plan = make_plan(
        paths,
        files_from,
        lambda path: path.suffix.lower() == SUFFIX,
        find_tokens,
        name,
        name,
        list(FORMATS),
    )
    convert(plan, work, overwrite, as_json, check_done, None, resolve_jobs(jobs), threads=None)
