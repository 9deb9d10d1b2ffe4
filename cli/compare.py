"""`codec compare`: which of several evaluations differ, and by how much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiocodec.evaluation.metrics import select_metrics

from .options import json_option, resolve_jobs
from .scoreoptions import MOS, counts_option, metrics_options, score_jobs_option

if TYPE_CHECKING:
    from audiocodec.evaluation.systems import System

ALL = "all"


def parse_judged(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """`all` -> (), `a,b` -> ("a", "b"), each of which is a metric."""
    if value is None or value == ALL:
        return None if value is None else ()
    names = tuple(name.strip() for name in value.split(","))
    chosen = select_metrics(names)
    for name in names:
        if name not in chosen:
            raise click.BadParameter(f"{name} is a group; name its metrics one by one")
    return names


def scored(
    source: str,
    reference: str,
    num_codebooks: tuple[int, ...] | None,
    metrics: tuple[str, ...],
    jobs: int,
) -> System:
    """Evaluate a model on the recordings, or score decoded files against them."""
    from audiocodec.bundled import bundled_models
    from audiocodec.checkpoint import CONFIG_NAME, load_codec
    from audiocodec.evaluation import evaluate, score_files
    from audiocodec.evaluation.systems import evaluated_system, scored_system

    if source in bundled_models() or (Path(source) / CONFIG_NAME).is_file():
        codec = load_codec(source)
        made = evaluate(codec, reference, num_codebooks, metrics=metrics, jobs=jobs, progress=True)
        for line in made.failures:
            click.echo(f"warning: {line}", err=True)
        return evaluated_system(made, source)
    pairs = score_files(reference, source, metrics=metrics, jobs=jobs, progress=True)
    for line in (*pairs.remarks, *pairs.unpaired):
        click.echo(f"warning: {line}", err=True)
    return scored_system(pairs)


@click.command()
@click.argument("sources", metavar="A B...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--reference",
    type=click.Path(),
    metavar="DIR",
    help="Compare models, and folders of decoded audio, instead of CSVs: evaluate each on these "
    "recordings first, as codec evaluate and codec score do.",
)
@click.option(
    "--choose",
    "judged",
    callback=parse_judged,
    metavar="all|NAME,...",
    help="Compare all with the first system only, and choose one: the one that gains most by these "
    "scores, of those that are worse than the first in none of them beyond its interval.",
)
@counts_option()
@score_jobs_option
@metrics_options
@json_option(
    "differences (first, second, num_codebooks, score, first_mean, second_mean, difference, "
    "distinguishable, verdict), remarks; with --choose also choice (first, chosen, judged, "
    "candidates)."
)
def command(
    sources: tuple[str, ...],
    reference: str | None,
    judged: tuple[str, ...] | None,
    num_codebooks: tuple[int, ...] | None,
    jobs: int | None,
    metrics: tuple[str, ...],
    mos: bool,
    as_json: bool,
) -> None:
    """Say which of several evaluations differ, and by how much.

    Each of A, B... is a CSV of codec evaluate --csv, with one model or several, or of codec score
    --csv; or, with --reference, a model or a folder of decoded audio. Every two systems are
    compared on the files that both have, with equal numbers of codebooks: for each score and for
    the bitrate, the mean of the differences file by file with its 95 % confidence interval, and
    whether they can be distinguished.

    Files are matched by their path as it was given when they were evaluated.

    Which checkpoint of a run to keep, or whether any is better than the model in use, is one
    question to several scores: see --choose.

    \b
    codec evaluate held_out/ --csv before.csv
    codec evaluate held_out/ --csv after.csv --model runs/mine/model
    codec compare before.csv after.csv
    codec compare before.csv after.csv --choose pesq_wb,stoi,distill_mos
    codec compare --reference recordings/ by_opus/ by_speex/     decoded audio of any codecs
    codec compare --reference recordings/ -n 3,12 speech_16khz runs/mine/model    models
    """
    from audiocodec.errors import CodecError
    from audiocodec.evaluation.choice import choose
    from audiocodec.evaluation.differences import find_differences
    from audiocodec.evaluation.systems import read_scores

    if reference is None:
        if metrics or mos or num_codebooks:
            raise CodecError(
                f"{'--num-codebooks' if num_codebooks else '--metrics'}: CSVs have the scores that "
                "they have; evaluate again"
            )
        for source in sources:
            if Path(source).is_dir():
                raise CodecError(
                    f"{source}: is a folder; name the folder of its references with --reference"
                )
        systems = [system for source in sources for system in read_scores(source)]
    else:
        if len(sources) < 2:
            raise click.UsageError("name two models or folders, or more")
        chosen = (*metrics, MOS) if mos else metrics
        systems = [
            scored(source, reference, num_codebooks, chosen, resolve_jobs(jobs))
            for source in sources
        ]
    result = find_differences(systems, among_all=judged is None)
    choice = None if judged is None else choose(result, judged)
    if as_json:
        found = result.as_dict() | ({} if choice is None else {"choice": choice.as_dict()})
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo("\n\n".join([result.table(), *([] if choice is None else [choice.text()])]))
    for line in result.remarks:
        click.echo(f"warning: {line}", err=True)
