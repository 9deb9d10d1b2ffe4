"""`codec encode`: audio files to token files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .lists import files_from_option
from .options import (
    beam_option,
    coding_option,
    device_option,
    engine_option,
    jobs_option,
    json_option,
    model_option,
    num_codebooks_option,
    open_codec,
    overwrite_option,
    raw_input_options,
    resolve_device,
    resolve_jobs,
    threads_option,
    use_threads,
)

if TYPE_CHECKING:
    from audiocodec.batch.plan import Plan


def bits_per_second(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """`1500`, `1.5k` or `1.5kbps` -> 1500.0."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(k?)(?:bps|bit/s)?", value.strip().lower())
    if not match:
        raise click.BadParameter(f"`{value}` is no bitrate; write 3k or 3000")
    return float(match[1]) * (1000 if match[2] else 1)


@click.command()
@click.argument("paths", nargs=-1, metavar="IN... [OUT]", type=click.Path())
@files_from_option
@num_codebooks_option
@click.option(
    "--bitrate",
    callback=bits_per_second,
    metavar="RATE",
    help="Instead of -n: as many codebooks as fit into RATE, such as 3k; per channel. With context "
    "coding, RATE is that of the whole file, and codebooks are chosen for each file.",
)
@model_option
@device_option
@engine_option
@jobs_option
@threads_option("1; for a single file OMP_NUM_THREADS where that is set")
@overwrite_option
@click.option(
    "--exact", is_flag=True, help="Compute in float64, so that rounding changes no codes; slower."
)
@beam_option
@coding_option
@raw_input_options
@json_option("files (source, target, seconds, bitrate, ...), skipped, failures.")
def command(
    paths: tuple[str, ...],
    files_from: str | None,
    num_codebooks: int | None,
    bitrate: float | None,
    model: str,
    device: str,
    engine: str,
    jobs: int | None,
    threads: int | None,
    overwrite: bool,
    exact: bool,
    beam: int,
    coding: str | None,
    raw: int | None,
    raw_channels: int,
    raw_format: str,
    as_json: bool,
) -> None:
    """Turn audio files into token files.

    IN is an audio file of any sample rate and channel count (WAV, FLAC, Ogg, Opus, MP3; with the
    extra `av` also AAC, MP4, WebM and others), or a folder of them. For a single IN, OUT is its
    .tok file. Otherwise, or if it ends with a slash, OUT is a folder that mirrors the tree of IN.
    Without OUT, each in.wav becomes in.tok beside it.

    Existing outputs are not made again without --overwrite. A single one is an error. Among several
    files it is skipped, unless it differs: it is cut short, older than IN, or has another model,
    number of codebooks or length. Then it is kept, an error line says so, and the exit status is 1.
    If an existing file has more codebooks than needed, --overwrite removes the others; it encodes
    again only if the result would not be the same.

    On a GPU, short files of similar length are encoded in batches of 160 s of audio. With --exact
    the codes do not depend on the batch; without it, rounding may decide a near tie differently.

    With context coding, the default where the model has a context model, a file takes about a
    quarter less than its codes do at fixed length, and its bitrate varies with what is said. stdout
    and more than 64 channels get fixed coding by default, stdout a constant bitrate with it.

    With --beam the file size and the decoder stay the same; only the choice of codes is better. The
    choice is for all codebooks together. To decode fewer of them, encode with fewer: that may be
    better than cutting the file.

    As IN, - is audio of any of these formats from stdin (or --raw samples). WAV and raw samples are
    encoded as they arrive, other formats when stdin has ended. As OUT, - is a .tok to stdout, in
    blocks of a fifth of a second that are written while the input is still open. Messages and the
    output of --json then go to stderr.

    \b
    codec encode in.wav                     writes in.tok
    codec encode in.wav out.tok -n 3        three codebooks only
    codec encode speech/ tokens/ --bitrate 3k
    find . -name '*.wav' -size +9k | codec encode --files-from - tokens/
    codec encode in.wav --beam 4            the same bitrate, less distortion
    codec encode speech/ tokens/ --engine onnx   the same codes in less CPU time
    arecord -f S16_LE -r 16000 | codec encode - - | nc host 7000
    """
    if num_codebooks is not None and bitrate is not None:
        raise click.UsageError("give -n or --bitrate, not both")
    if not paths and not files_from:
        raise click.UsageError("Missing argument 'IN... [OUT]'.")
    if raw and paths[:1] != ("-",):
        raise click.UsageError("--raw describes stdin: give - as IN")
    from audiocodec.audio import RawFormat, audio_info
    from audiocodec.batch.encoder import BatchEncoder
    from audiocodec.batch.existing import check_encoded, cut_codebooks
    from audiocodec.batch.plan import Job
    from audiocodec.bitrates import encode_to_bitrate
    from audiocodec.files import encode_file
    from audiocodec.progress import Progress
    from audiocodec.results import FileResult
    from audiocodec.tokens.header import FIXED

    from .convert import convert
    from .pipes import PIPE, opened

    plan = encoding_plan(paths, files_from)
    samples = RawFormat(raw, raw_channels, raw_format) if raw else None
    use_threads(threads)
    device = resolve_device(device, engine)
    codec = open_codec(model, device, engine, exact)
    to_stream = plan.pipe and any(str(job.target) == PIPE for job in plan.jobs)
    coding = coding or (FIXED if to_stream else None)
    variable = bitrate is not None and (coding or codec.default_coding()) != FIXED
    if variable and plan.pipe:
        raise click.UsageError("--bitrate with context coding encodes a file more than once: no -")
    if bitrate is not None and not variable:
        num_codebooks = codec.codebooks_for_bitrate(bitrate)
    used = codec.resolve_num_codebooks(num_codebooks)

    def work(job: Job, progress: Progress) -> FileResult:
        if variable and bitrate is not None:
            return encode_to_bitrate(job.source, job.target, codec, bitrate, progress, beam, coding)
        source, target = opened(job.source, "rb", plan), opened(job.target, "wb", plan)
        return encode_file(source, target, codec, used, progress, beam, samples, coding)

    batches = BatchEncoder(codec, used, beam, coding) if device != "cpu" and not variable else None
    # Codes that a beam chose depend on their number, and --exact may decide a near tie differently.
    can_reuse = not (plan.pipe or exact or beam > 1 or variable)
    convert(
        plan,
        work,
        overwrite,
        as_json,
        check_done=lambda job: check_encoded(
            job.target, codec, None if variable else used, job.source, coding
        ),
        seconds=lambda job: audio_info(job.source).seconds,
        reuse=(lambda job: cut_codebooks(job.target, job.source, codec, used, coding))
        if can_reuse
        else None,
        workers=resolve_jobs(jobs, threads),
        threads=threads or 1,
        # On a CPU a batch saves a tenth of the time, but codes could depend on its other files.
        batching=batches.batching_policy if batches else None,
    )


def encoding_plan(paths: Sequence[str], files_from: str | None) -> Plan:
    """Audio files to token files of the same name."""
    from audiocodec.audio import READ_SUFFIXES, find_audio
    from audiocodec.tokens.header import SUFFIX

    from .convert import make_plan

    def is_input(path: Path) -> bool:
        suffix = path.suffix.lower()
        return suffix in READ_SUFFIXES or (path.is_file() and suffix != SUFFIX)

    def name(source: Path) -> str:
        return source.stem + SUFFIX

    return make_plan(paths, files_from, is_input, find_audio, name, name, [SUFFIX])
