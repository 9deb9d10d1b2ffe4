"""codec evaluate: score a model on audio files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .options import (
    beam_option,
    device_option,
    json_option,
    model_option,
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


@click.command()
@click.argument("sources", metavar="DIR|FILE...", nargs=-1, required=True, type=click.Path())
@model_option
@click.option(
    "-n",
    "--num-codebooks",
    callback=parse_counts,
    metavar="N,N,...",
    help="Numbers of codebooks to score. Default: one, a quarter, half and all.",
)
@beam_option
@click.option("--csv", type=click.Path(path_type=Path), help="Write every file's scores here.")
@device_option
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes that score. Default: one a core.",
)
@threads_option()
@click.option("--mos", is_flag=True, help="Add DistillMOS, a learned score (extra `mos`).")
@json_option
def command(
    sources: tuple[str, ...],
    model: str,
    num_codebooks: tuple[int, ...] | None,
    beam: int,
    csv: Path | None,
    device: str,
    jobs: int | None,
    threads: int | None,
    mos: bool,
    as_json: bool,
) -> int:
    """Encode and decode audio files and score what is left of them.

    PESQ-WB, STOI, SI-SDR, log-mel distance, the real bitrate, codebook usage and speed, as means
    with 95 % intervals. A file that cannot be scored is named; one that cannot be read also makes
    the exit status 1.
    """
    import torch

    from audiocodec.checkpoint import load_codec
    from audiocodec.errors import CodecError
    from audiocodec.evaluation import evaluate

    if csv is not None and (csv.is_dir() or not csv.absolute().parent.is_dir()):
        raise CodecError(f"--csv {csv}: is a folder, or its folder does not exist; name a file")
    use_threads(threads)
    codec = load_codec(model, resolve_device(device))
    result = evaluate(
        codec,
        sources,
        num_codebooks,
        jobs,
        mos,
        progress=True,
        beam=beam,
        threads=torch.get_num_threads(),
    )
    click.echo(json.dumps(result.as_dict(), indent=2) if as_json else result.table())
    if csv is not None:
        result.write_csv(csv)
    return 1 if result.unreadable else 0
