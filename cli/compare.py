"""`codec compare`: which of several evaluations differ, and by how much."""

from __future__ import annotations

import json
from pathlib import Path

import click

from audiocodec.evaluation.metrics import select_metrics

from .options import json_option, resolve_jobs
from .scoreoptions import MOS, metrics_options, score_jobs_option

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


@click.command()
@click.argument("sources", metavar="A.csv B.csv...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--reference",
    type=click.Path(),
    metavar="DIR",
    help="Compare folders of decoded audio instead of CSVs: score each against this folder first, "
    "as codec score does.",
)
@click.option(
    "--choose",
    "judged",
    callback=parse_judged,
    metavar="all|NAME,...",
    help="Compare all with the first system only, and choose one: the one that gains most by these "
    "scores, of those that are worse than the first in none of them beyond its interval.",
)
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
    jobs: int | None,
    metrics: tuple[str, ...],
    mos: bool,
    as_json: bool,
) -> None:
    """Say which of several evaluations differ, and by how much.

    Each of A.csv, B.csv... is a file of codec evaluate --csv, with one model or several, or of
    codec score --csv. Every two systems are compared on the files that both have, with equal
    numbers of codebooks: for each score and for the bitrate, the mean of the differences file by
    file with its 95 % confidence interval, and whether they can be distinguished.

    Files are matched by their path as it was given when they were evaluated.

    Which checkpoint of a run to keep, or whether any is better than the model in use, is one
    question to several scores: see --choose.

    \b
    codec evaluate held_out/ --csv before.csv
    codec evaluate held_out/ --csv after.csv --model runs/mine/model
    codec compare before.csv after.csv
    codec compare before.csv after.csv --choose pesq_wb,stoi,distill_mos
    codec compare --reference recordings/ by_opus/ by_speex/     decoded audio of any codecs
    """
    from audiocodec.errors import CodecError
    from audiocodec.evaluation.choice import choose
    from audiocodec.evaluation.differences import find_differences, read_scores, scored_system

    if reference is None:
        if metrics or mos:
            raise CodecError(
                "--metrics: CSVs have the scores that they have; evaluate again with --metrics"
            )
        for source in sources:
            if Path(source).is_dir():
                raise CodecError(
                    f"{source}: is a folder; name the folder of its references with --reference"
                )
        systems = [system for source in sources for system in read_scores(source)]
    else:
        from audiocodec.evaluation import score_files

        if len(sources) < 2:
            raise click.UsageError("name two folders or more")
        chosen = (*metrics, MOS) if mos else metrics
        systems = []
        for source in sources:
            scored = score_files(
                reference, source, metrics=chosen, jobs=resolve_jobs(jobs), progress=True
            )
            for line in (*scored.remarks, *scored.unpaired):
                click.echo(f"warning: {line}", err=True)
            systems.append(scored_system(scored))
    result = find_differences(systems, among_all=judged is None)
    choice = None if judged is None else choose(result, judged)
    if as_json:
        found = result.as_dict() | ({} if choice is None else {"choice": choice.as_dict()})
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo("\n\n".join([result.table(), *([] if choice is None else [choice.text()])]))
    for line in result.remarks:
        click.echo(f"warning: {line}", err=True)
