"""`codec evaluate`: score models on audio files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .options import (
    DEFAULT_MODEL,
    beam_option,
    device_option,
    json_option,
    overwrite_option,
    resolve_device,
    threads_option,
    use_threads,
)


def parse_counts(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """`1,3,6,12` -> (1, 3, 6, 12)."""
    if value is None:
        return None
    try:
        counts = tuple(int(part) for part in value.split(","))
    except ValueError:
        counts = (0,)
    if min(counts) < 1:
        raise click.BadParameter(f"{value}: write numbers of 1 or more with commas, as in 1,3,6,12")
    return counts


def check_csv(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Refuse, before hours of work, a CSV that cannot be written after them."""
    from audiocodec.errors import CodecError

    if value is not None and (value.is_dir() or not value.absolute().parent.is_dir()):
        raise CodecError(f"--csv {value}: is a folder, or its folder does not exist; name a file")
    return value


csv_option = click.option(
    "--csv",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=check_csv,
    help="Write the scores of every file here, one line each.",
)

score_jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of processes that score. Default: one a core.",
)

mos_option = click.option(
    "--mos",
    is_flag=True,
    help="Add DistillMOS, a learned score of the decoded audio alone (extra `mos`).",
)


@click.command()
@click.argument("sources", metavar="DIR|FILE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--model",
    "models",
    multiple=True,
    default=(DEFAULT_MODEL,),
    show_default=True,
    metavar="NAME|DIR",
    type=click.Path(),
    help="A bundled model's name, or a model's folder. Give it again to compare models.",
)
@click.option(
    "-n",
    "--num-codebooks",
    callback=parse_counts,
    metavar="N,N,...",
    help="Numbers of codebooks to score. Default: one, a quarter, half and all.",
)
@beam_option
@csv_option
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the audio: DIR/MODEL/N/PATH.wav, and DIR/reference_RATE/PATH.wav of files that were "
    "resampled.",
)
@overwrite_option
@device_option
@score_jobs_option
@mos_option
@json_option(
    "model, fingerprint, sample_rate, device, beam, threads, files, results (means for each number "
    "of codebooks), codebooks, failures; of several models: models (a list of these), failures."
)
@threads_option()
def command(
    sources: tuple[str, ...],
    models: tuple[str, ...],
    num_codebooks: tuple[int, ...] | None,
    beam: int,
    csv: Path | None,
    save: Path | None,
    overwrite: bool,
    device: str,
    jobs: int | None,
    threads: int | None,
    mos: bool,
    as_json: bool,
) -> int:
    """Encode and decode audio files and score the result.

    Prints means over the files with 95 % confidence intervals for each number of codebooks: bitrate
    as measured in the token file, PESQ-WB (1 to 4.6), STOI (0 to 1), SI-SDR in dB, log-mel distance
    in dB (0 is best) and speed; then how many entries of each codebook occur. The reference is the
    input at the model's sample rate; a delay of up to 50 ms is undone before scoring.

    With several --model, all code the same files, and a mean is over the files for which every
    model has the score.

    A file that cannot be read is an error line, the rest is done, and the exit code is 1. A score
    that a file cannot have (silence has no PESQ) is named below the table.

    \b
    codec evaluate held_out/                               the bundled model
    codec evaluate held_out/ -n 1,3,6,12 --csv scores.csv  every file's scores
    codec evaluate held_out/ --model speech_16khz --model runs/mine/model
    codec evaluate held_out/ -n 6 --save listen            decoded audio in listen/MODEL/6
    codec evaluate held_out/ --mos --json > scores.json
    """
    import torch

    from audiocodec.checkpoint import load_codec
    from audiocodec.errors import CodecError
    from audiocodec.evaluation import compare

    use_threads(threads)
    device = resolve_device(device)
    codecs = [load_codec(model, device) for model in models]
    prints = [codec.fingerprint for codec in codecs]
    for number, model in enumerate(models):
        if prints[number] in prints[:number]:
            first = models[prints.index(prints[number])]
            raise CodecError(f"--model {model}: is the same model as {first}; name it once")
    found = compare(
        codecs,
        sources,
        num_codebooks,
        jobs,
        mos,
        progress=True,
        beam=beam,
        save=save,
        overwrite=overwrite,
        threads=torch.get_num_threads(),
    )
    result = found if len(models) > 1 else found.evaluations[0]
    click.echo(json.dumps(result.as_dict(), indent=2) if as_json else result.table())
    if csv is not None:
        result.write_csv(csv)
    for failure in result.unreadable.values():
        click.echo(f"error: {failure}", err=True)
    return 1 if result.unreadable else 0
