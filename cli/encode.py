"""`codec encode`: sound files to token files."""

from __future__ import annotations

import re
from pathlib import Path

import click

from .options import (
    beam_option,
    device_option,
    json_option,
    model_option,
    num_codebooks_option,
    overwrite_option,
    resolve_device,
)


def bits_per_second(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """`1500`, `1.5k` or `1.5kbps` -> 1500.0."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(k?)(?:bps|bit/s)?", value.strip().lower())
    if not match:
        raise click.BadParameter(f"`{value}` is no bitrate; write 3k or 3000")
    return float(match[1]) * (1000 if match[2] else 1)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="IN... [OUT]")
@num_codebooks_option
@click.option(
    "--bitrate",
    callback=bits_per_second,
    metavar="RATE",
    help="Instead of -n: the most codebooks that fit, such as 3k; per channel.",
)
@model_option
@device_option
@overwrite_option
@click.option(
    "--exact", is_flag=True, help="Compute in float64, so that rounding changes no code; slower."
)
@beam_option
@json_option
def command(
    paths: tuple[str, ...],
    num_codebooks: int | None,
    bitrate: float | None,
    model: str,
    device: str,
    overwrite: bool,
    exact: bool,
    beam: int,
    as_json: bool,
) -> None:
    """Turn audio files into token files.

    IN is a sound file of any sample rate and channel count (WAV, FLAC, Ogg, Opus, MP3), or a folder
    of them. OUT is the .tok file of a single IN, or else a folder that the tree of IN is mirrored
    into. Without OUT each in.wav becomes in.tok beside it.

    An output that is there already is not made again without --overwrite: among several files it
    is passed over if it is whole, of the same model and codebooks; a single one is an error.

    With --beam the file is as large and decodes alike; only the choice of codes is better, for all
    codebooks together: reading it with fewer is then a little worse than encoding it with fewer.

    \b
    codec encode in.wav                     writes in.tok
    codec encode in.wav out.tok -n 3        three codebooks only
    codec encode speech/ tokens/ --bitrate 3k
    codec encode in.wav --beam 4            the same bitrate, less distortion
    """
    if num_codebooks is not None and bitrate is not None:
        raise click.UsageError("give -n or --bitrate, not both")
    import torch

    from audiocodec.audio import READ_SUFFIXES, audio_info, find_audio
    from audiocodec.batch import Job, plan_jobs, split_paths
    from audiocodec.checkpoint import load_codec
    from audiocodec.files import FileResult, Progress, check_done, encode_file
    from audiocodec.tokenfile import SUFFIX

    from .convert import convert

    def is_input(path: Path) -> bool:
        suffix = path.suffix.lower()
        return suffix in READ_SUFFIXES or (path.is_file() and suffix != SUFFIX)

    def name(source: Path) -> str:
        return source.stem + SUFFIX

    plan = plan_jobs(*split_paths(paths, is_input), find_audio, name, name)
    codec = load_codec(model, resolve_device(device), torch.float64 if exact else torch.float32)
    if bitrate is not None:
        num_codebooks = codec.codebooks_for_bitrate(bitrate)
    used = codec.resolve_num_codebooks(num_codebooks)

    def work(job: Job, progress: Progress) -> FileResult:
        return encode_file(job.source, job.target, codec, used, progress, beam)

    convert(
        plan,
        work,
        overwrite,
        as_json,
        check_done=lambda job: check_done(job.target, codec, used),
        seconds=lambda job: audio_info(job.source).seconds,
    )
