"""`codec score`: score decoded files of any codec against their references."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .options import json_option, resolve_jobs
from .scoreoptions import MOS, csv_option, metrics_options, score_jobs_option


@click.command()
@click.argument("reference", metavar="REFERENCE", type=click.Path())
@click.argument("decoded", metavar="DECODED", type=click.Path())
@csv_option
@score_jobs_option
@metrics_options
@json_option(
    "references, decoded, files, seconds, scores (mean, ci95 and count of each), lag_ms (median), "
    "remarks, failures."
)
def command(
    reference: str,
    decoded: str,
    csv: Path | None,
    jobs: int | None,
    metrics: tuple[str, ...],
    mos: bool,
    as_json: bool,
) -> int:
    """Score decoded audio of any codec against its reference.

    REFERENCE and DECODED are two folders or two files. In folders, files are pairs if their paths
    in the folder are equal without the suffix: REFERENCE/a/1.flac and DECODED/a/1.wav. The scores
    can be compared with those of codec evaluate.

    The decoded file is resampled to the reference's sample rate. A delay of up to 50 ms is removed.
    If the lengths differ by more than 0.1 s, a warning is printed and the common length is scored.
    A file without a partner, or one that cannot be read, is an error line. The others are scored,
    and the exit code is 1.

    \b
    codec score recordings/ decoded_by_opus/
    codec score recordings/ decoded_by_opus/ --csv opus.csv --mos
    codec score in.wav out.wav --json

    \b
    Another codec on the files of codec evaluate, here Opus at 6 kbit/s:
      for f in recordings/*.wav; do
        opusenc --bitrate 6 "$f" opus/$(basename "$f" .wav).opus
      done
      codec score recordings/ opus/
    """
    from audiocodec.evaluation import score_files

    result = score_files(
        reference,
        decoded,
        metrics=(*metrics, MOS) if mos else metrics,
        jobs=resolve_jobs(jobs),
        progress=True,
    )
    click.echo(json.dumps(result.as_dict(), indent=2) if as_json else result.table())
    if csv is not None:
        result.write_csv(csv)
    for text in result.remarks:
        click.echo(f"warning: {text}", err=True)
    for failure in result.unpaired:
        click.echo(f"error: {failure}", err=True)
    return 1 if result.unpaired else 0
