"""`codec decode`: token files to audio files."""

from __future__ import annotations

from pathlib import Path

import click

from .lists import files_from_option
from .options import (
    device_option,
    engine_option,
    jobs_option,
    json_option,
    model_option,
    num_codebooks_option,
    open_codec,
    overwrite_option,
    resolve_device,
    resolve_jobs,
    threads_option,
    use_threads,
)


@click.command()
@click.argument("paths", nargs=-1, metavar="IN... [OUT]", type=click.Path())
@files_from_option
@num_codebooks_option
@model_option
@device_option
@engine_option
@jobs_option
@threads_option("1; for a single file OMP_NUM_THREADS where that is set")
@overwrite_option
@click.option(
    "--raw", is_flag=True, help="To stdout: 16-bit little-endian samples without a WAV header."
)
@json_option("files (source, target, seconds, bitrate, ...), skipped, failures.")
def command(
    paths: tuple[str, ...],
    files_from: str | None,
    num_codebooks: int | None,
    model: str,
    device: str,
    engine: str,
    jobs: int | None,
    threads: int | None,
    overwrite: bool,
    raw: bool,
    as_json: bool,
) -> None:
    """Turn token files back into audio.

    IN is a .tok file or a folder of them. OUT is the audio file of a single IN, 16-bit .wav or
    .flac, or else a folder that the tree of IN is mirrored into, as .wav; with a slash at its end
    it is always a folder. Without OUT, or with the folder of in.tok itself as OUT, in.tok becomes
    in.decoded.wav, so that the recording in.wav stays as it is.

    Sample rate, channels and length are those of the recording. A file that was cut short is
    decoded up to the cut, with a warning and exit status 1. An output that is there already is not
    made again without --overwrite. A single one is an error. Among several files it is passed over,
    unless it is older than IN or of another length: then it stays, a line says so, and the exit
    status is 1.

    As IN, - is a .tok from stdin; as OUT, a WAV to stdout, or with --raw its samples alone, block
    by block while the input is still open. Messages, and what --json prints, then go to stderr.

    \b
    codec decode in.tok                     writes in.decoded.wav
    codec decode in.tok out.wav -n 3        the first three codebooks only
    codec decode tokens/ decoded/
    nc -l 7000 | codec decode - - --raw | aplay -f S16_LE -r 16000
    """
    if not paths and not files_from:
        raise click.UsageError("Missing argument 'IN... [OUT]'.")
    if raw and paths[-1:] != ("-",):
        raise click.UsageError("--raw is for stdout: give - as OUT")
    from audiocodec.audio import WRITE_FORMATS
    from audiocodec.batch.existing import check_decoded
    from audiocodec.batch.plan import Job
    from audiocodec.files import FileResult, Progress, decode_file, find_tokens
    from audiocodec.tokens.file import SUFFIX, TokenFile

    from .convert import convert, make_plan
    from .pipes import opened

    def is_input(path: Path) -> bool:
        return path.suffix.lower() == SUFFIX

    def seconds(job: Job) -> float:
        with TokenFile(job.source) as tokens:
            return tokens.seconds

    def beside(source: Path) -> str:
        return f"{source.stem}.decoded.wav"

    def in_output(source: Path) -> str:
        return f"{source.stem}.wav"

    plan = make_plan(
        paths, files_from, is_input, find_tokens, beside, in_output, list(WRITE_FORMATS)
    )
    use_threads(threads)
    device = resolve_device(device, engine)
    codec = open_codec(model, device, engine)

    def work(job: Job, progress: Progress) -> FileResult:
        source, target = opened(job.source, "rb", plan), opened(job.target, "wb", plan)
        return decode_file(source, target, codec, num_codebooks, progress, raw)

    # Without batches, a GPU has one file at a time, unless more are asked for.
    workers = resolve_jobs(jobs if device == "cpu" else jobs or 1, threads)
    convert(
        plan,
        work,
        overwrite,
        as_json,
        check_done=lambda job: check_decoded(job.target, job.source),
        seconds=seconds,
        workers=workers,
        threads=threads or 1,
    )
