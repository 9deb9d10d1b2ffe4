"""`codec decode`: token files to sound files."""

from __future__ import annotations

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
    resolve_device,
    resolve_jobs,
    threads_option,
    use_threads,
)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="IN... [OUT]")
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
@json_option
def command(
    paths: tuple[str, ...],
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

    IN is a .tok file or a folder of them. OUT is the sound file of a single IN, 16-bit .wav or
    .flac, or else a folder that the tree of IN is mirrored into, as .wav. Without OUT each in.tok
    becomes in.decoded.wav beside it, so that the recording in.wav it came from stays as it is.

    Sample rate, channels and length are those of the recording. A file that was cut short is
    decoded up to the cut, with a warning and exit code 1. An output that is there already is not
    made again without --overwrite: among several files it is passed over, a single one is an error.

    As IN, - is a .tok from stdin; as OUT, a WAV to stdout, or with --raw its samples alone, block
    by block while the input is still open. Messages then go to stderr.

    \b
    codec decode in.tok                     writes in.decoded.wav
    codec decode in.tok out.wav -n 3        the first three codebooks only
    codec decode tokens/ decoded/
    nc -l 7000 | codec decode - - --raw | aplay -f S16_LE -r 16000
    """
    if raw and paths[-1] != "-":
        raise click.UsageError("--raw is for stdout: give - as OUT")
    from audiocodec.batch import Job, plan_jobs, split_paths
    from audiocodec.files import FileResult, Progress, decode_file, find_tokens
    from audiocodec.tokenfile import SUFFIX, TokenFile

    from .convert import convert, opened, pipe_plan

    def is_input(path: Path) -> bool:
        return path.suffix.lower() == SUFFIX

    def seconds(job: Job) -> float:
        with TokenFile(job.source) as tokens:
            return tokens.seconds

    plan = pipe_plan(paths) or plan_jobs(
        *split_paths(paths, is_input),
        find=find_tokens,
        name_beside=lambda source: f"{source.stem}.decoded.wav",
        name_in_output=lambda source: f"{source.stem}.wav",
    )
    use_threads(threads)
    device = resolve_device(device, engine)
    codec = open_codec(model, device, engine)

    def work(job: Job, progress: Progress) -> FileResult:
        source, target = opened(job.source, "rb", plan), opened(job.target, "wb", plan)
        return decode_file(source, target, codec, num_codebooks, progress, raw)

    # Without batches, a GPU has one file at a time, unless more are asked for.
    workers = resolve_jobs(jobs if device == "cpu" else jobs or 1, threads)
    convert(plan, work, overwrite, as_json, seconds=seconds, workers=workers, threads=threads or 1)
