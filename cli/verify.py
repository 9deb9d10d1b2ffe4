"""`codec verify`: is a model what it was, and are its codes the same on every path? Is a tokenised
corpus what its ledger says?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import (
    device_option,
    json_option,
    model_option,
    remark,
    resolve_device,
    threads_option,
    use_threads,
)

if TYPE_CHECKING:
    from audiocodec.verification import Check


@click.command()
@click.argument("files", nargs=-1, metavar="[FILES]", type=click.Path())
@model_option
@click.option(
    "--record",
    is_flag=True,
    help="First write fingerprint.txt and golden.tok for the model as it is now.",
)
@device_option
@threads_option("2; codes are compared with those of 1")
@json_option(
    "model, ok, checks (name, detail, float32, float64, failure); of a tokenised corpus, ok and "
    "problems."
)
def command(
    files: tuple[str, ...],
    model: str,
    record: bool,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Check that a model is undamaged and computes the same codes everywhere; or a tokenised
    corpus, that it is what its ledger says.

    Checks the fingerprint, lengths, and codes: of a stream in pieces, of clips in a padded batch,
    of several threads, and of the golden clip, whose codes are stored with the model. In float64
    (codec encode --exact) all codes must be equal, or the exit code is 1. In float32 the share of
    equal codes is printed.

    FILES are audio files or folders, of which the first ten seconds are used. The default is the
    bundled clips.

    Or FILES is a folder that codec tokenize wrote. Then the checksum of each shard is compared. A
    shard that is missing, not finished or altered, by one bit even, is named, and the exit code
    is 1.

    \b
    codec verify                            the bundled model
    codec verify speech/ --model my_model   a model of yours, with your recordings
    codec verify --model my_model --record    after training: write fingerprint and codes
    codec verify tokens/                    the shards of a tokenised corpus
    """
    from audiocodec.tokenising.ledger import Ledger

    if len(files) == 1 and files[0] and Ledger(Path(files[0])).exists():
        if record:
            raise click.UsageError("--record is for models; a tokenised corpus has its ledger")
        verify_corpus(Path(files[0]), as_json)
        return
    from audiocodec.verification import record as record_model
    from audiocodec.verification import verify

    use_threads(1)
    if record:
        folder = record_model(model)
        remark(f"{folder}: fingerprint.txt and golden.tok are written")
    checks = verify(model, files, resolve_device(device), threads or 2)
    if as_json:
        result = {
            "model": model,
            "ok": not any(check.failure for check in checks),
            "checks": [dataclasses.asdict(check) for check in checks],
        }
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(table(checks))
    for check in checks:
        if check.failure:
            click.echo(f"error: {check.name}: {check.failure}", err=True)
    if any(check.failure for check in checks):
        click.get_current_context().exit(1)


def verify_corpus(folder: Path, as_json: bool) -> None:
    """Compare the shards of a tokenised corpus with its ledger."""
    from audiocodec.progress import progress_bar
    from audiocodec.tokenising.checking import check_shards
    from audiocodec.tokenising.ledger import Ledger

    settings = Ledger(folder).settings()
    problems = []
    with progress_bar(settings.num_shards, "shards") as bar:
        for problem in check_shards(folder, bar.update):
            problems.append(problem)
            click.echo(f"error: {problem}", err=True)
    if as_json:
        click.echo(json.dumps({"ok": not problems, "problems": problems}, indent=2))
    elif not problems:
        click.echo(
            f"{folder}: {settings.num_shards} shards, {settings.utterances} utterances: all as the "
            "ledger says"
        )
    if problems:
        click.get_current_context().exit(1)


def table(checks: list[Check]) -> str:
    """One line per check: its name, equal codes in both precisions or a remark, and the result."""
    lines = [f"{'equal codes':24} {'float32':>10} {'float64':>10}"]
    for check in checks:
        shares = f"{percent(check.float32)} {percent(check.float64)}"
        seen = check.detail or shares
        lines.append(f"{check.name:24} {seen:21}  {'FAILED' if check.failure else 'ok'}")
    return "\n".join(lines)


def percent(share: float | None) -> str:
    """A share in percent, rounded down, so that 100 % means all."""
    return f"{'':10}" if share is None else f"{int(share * 1e5) / 1e3:8.3f} %"
