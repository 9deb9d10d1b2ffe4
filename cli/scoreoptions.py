"""Options of the commands that score: `codec evaluate`, `score` and `compare`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics import METRICS, select_metrics

MOS = "distill_mos"


def parse_metrics(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """`a,b` -> ("a", "b"), checked before anything is computed."""
    names = tuple(name.strip() for name in value.split(",")) if value else ()
    select_metrics(names)
    return names


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


def split_words(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """`("a b", "c")` -> ("a", "b", "c"); quoted as in a shell."""
    try:
        return tuple(word for words in value for word in shlex.split(words))
    except ValueError as error:
        raise click.BadParameter(f"{' '.join(value)}: {error}") from None


def check_output(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a file that cannot be written before anything is computed."""
    if value is not None and (value.is_dir() or not value.absolute().parent.is_dir()):
        raise CodecError(
            f"{param.opts[0]} {value}: is a folder, or its folder does not exist; name a file"
        )
    return value


csv_option = click.option(
    "--csv",
    type=click.Path(path_type=Path),
    metavar="FILE",
    callback=check_output,
    help="Write the scores of every file here, one line each.",
)

score_jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of scoring processes. Default: one for each core.",
)


def counts_option(default: str = "one, a quarter, half and all") -> Callable[..., Any]:
    """`-n N,N,...`; ``default`` is what the command does without it."""
    return click.option(
        "-n",
        "--num-codebooks",
        callback=parse_counts,
        metavar="N,N,...",
        help=f"Numbers of codebooks to use. Default: {default}.",
    )


def metrics_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--metrics NAME,...`, and `--mos`."""
    listed: dict[str, str] = {}
    for name, metric in METRICS.items():
        if metric.group:
            columns = sum(other.group == metric.group for other in METRICS.values())
            listed[metric.group] = f"{metric.group} ({columns} columns)"
        elif metric.optional:
            extra = f", extra `{metric.extra}`" if metric.extra else ""
            listed[name] = f"{name} ({metric.title}{extra})"
    command = click.option("--mos", is_flag=True, help="Short for --metrics distill_mos.")(command)
    return click.option(
        "--metrics",
        callback=parse_metrics,
        metavar="NAME,...",
        help=f"Compute these metrics too: {', '.join(listed.values())}.",
    )(command)
