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
    "--raw", is_flag=True, help="Write 16-bit little-endian samples without a WAV header to stdout."
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
    """Decode token files to audio.

    IN is a .tok file or a folder of them. For a single IN, OUT is an audio file, 16-bit .wav or
    .flac. Otherwise OUT is a folder, which gets the folder tree of IN with .wav files. A path with
    a slash at its end is always a folder. Without OUT, or if OUT is the folder of in.tok, in.tok
    becomes in.decoded.wav, so that the recording in.wav is not replaced.

    Sample rate, channels and length are those of the recording. A file that was cut short is
    decoded up to the cut, with a warning and exit status 1. An output that exists is not replaced
    without --overwrite. For a single file that is an error. Among several files, it is skipped;
    if it is older than IN or has another length, a message says so and the exit status is 1.

    As IN, - reads a .tok from stdin. As OUT, - writes a WAV to stdout, or with --raw the samples
    alone, block by block while the input is still open. Messages and --json then go to stderr.

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
    from audiocodec.files import decode_file
    from audiocodec.progress import Progress
    from audiocodec.results import FileResult
    from audiocodec.tokens import SUFFIX, TokenFile, find_tokens

    from .convert import convert, make_plan
    from .pipes import opened

    def is_input(path: Path) -> bool:
        return path.suffix.lower() == SUFFIX

    def seconds(job: Job) -> float:
        with TokenFile(job.source, codec.context) as tokens:
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

    # Decoding has no batches. On a GPU, one file is decoded at a time unless --jobs is given.
    workers = resolve_jobs(jobs if device == "cpu" else jobs or 1, threads)
    convert(
        plan,
        work,
        overwrite,
        as_json,
        check_done=lambda job: check_decoded(job.target, job.source, codec.context),
        seconds=seconds,
        workers=workers,
        threads=threads or 1,
    )
