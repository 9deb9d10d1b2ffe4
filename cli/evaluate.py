"""`codec evaluate`: score models on audio files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from audiocodec.errors import CodecError

from .options import (
    DEFAULT_MODEL,
    beam_option,
    coding_option,
    device_option,
    json_option,
    overwrite_option,
    resolve_device,
    threads_option,
    use_threads,
)
from .scoreoptions import (
    MOS,
    check_output,
    counts_option,
    csv_option,
    metrics_options,
    score_jobs_option,
    split_words,
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
    help="A bundled model's name, or a model's folder. Repeat it to compare models.",
)
@counts_option()
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    callback=split_words,
    metavar="CODEC:SETTING...",
    help="Other codecs on the same files: opus:6k, speex:4, codec2:3200, where their programs are "
    "installed; or NAME-folder:DIR@6k, decoded files in DIR, matched by name, and their bitrate. "
    "Several in one argument with spaces, or repeat it.",
)
@beam_option
@coding_option
@csv_option
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="PAGE.html",
    callback=check_output,
    help="Write an HTML page: tables, charts, and the worst and best files to hear and see. All is "
    "in the one file.",
)
@click.option(
    "--published",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="With --report, draw scores of other systems that were measured elsewhere: columns "
    "system, kbps, source, encode, decode, and a metric's name each.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Save the decoded audio as DIR/MODEL/N/PATH.wav, and references that were resampled as "
    "DIR/reference_RATE/PATH.wav.",
)
@click.option(
    "--flat",
    is_flag=True,
    help="With --save, folders as VERSA and Codec-SUPERB read them: DIR/ref/NAME.wav and "
    "DIR/decoded/MODEL_N/NAME.wav, each with a wav.scp.",
)
@overwrite_option
@device_option
@score_jobs_option
@metrics_options
@json_option(
    "model, fingerprint, sample_rate, device, beam, coding, threads, files, results (means for "
    "each number of codebooks), codebooks, failures; of several models: models (a list of these), "
    "failures."
)
@threads_option()
@click.pass_context
def command(
    ctx: click.Context,
    sources: tuple[str, ...],
    models: tuple[str, ...],
    num_codebooks: tuple[int, ...] | None,
    baselines: tuple[str, ...],
    beam: int,
    coding: str | None,
    csv: Path | None,
    report: Path | None,
    published: Path | None,
    save: Path | None,
    flat: bool,
    overwrite: bool,
    device: str,
    jobs: int | None,
    threads: int | None,
    metrics: tuple[str, ...],
    mos: bool,
    as_json: bool,
) -> int:
    """Encode and decode audio files and score the reconstructions.

    Prints means over the files with 95 % confidence intervals for each number of codebooks: the
    bitrate measured in the token file (kbps: of its codes; in file: of all its bytes), PESQ-WB (1
    to 4.6), STOI (0 to 1), SI-SDR in dB, log-mel distance in dB (0 is best) and speed; then how
    many entries of each codebook are used. The reference is the input at the model's sample rate.
    A delay of up to 50 ms is removed before scoring.

    With several --model, all models code the same files, and a mean is over the files that have
    the score for every model. So do --baseline codecs; the kbps of opus, speex and codec2 are
    of the packets alone, and their speed includes starting their programs. Of decoded files in a
    folder, kbps are those after @, or of bitrates.csv in it (file, and bytes or kbps).

    A file that cannot be read is an error line. The others are scored, and the exit code is 1. A
    score that a file does not have (silence has no PESQ) is listed below the table.

    \b
    codec evaluate held_out/                               the bundled model
    codec evaluate held_out/ -n 1,3,6,12 --csv scores.csv  every file's scores
    codec evaluate held_out/ --model speech_16khz --model runs/mine/model
    codec evaluate held_out/ --baseline "opus:6k opus:9k codec2:3200 speex:4"
    codec evaluate held_out/ --baseline encodec-folder:by_encodec@6k    decoded files
    codec evaluate held_out/ --report report.html          a page with charts and audio
    codec evaluate held_out/ -n 6 --save listen            decoded audio in listen/MODEL/6
    codec evaluate held_out/ -n 6 --save pairs --flat      pairs/ref, pairs/decoded/MODEL_6
    codec evaluate held_out/ --metrics distill_mos --json > scores.json
    """
    import torch

    from audiocodec.checkpoint import load_codec
    from audiocodec.evaluation import compare
    from audiocodec.evaluation.baselines import parse_baselines

    if flat and save is None:
        raise CodecError("--flat: says how audio is saved; name a folder with --save")
    parsed = parse_baselines(baselines)
    installed = [baseline for baseline in parsed if not baseline.missing]
    for baseline in parsed:
        if baseline.missing:
            click.echo(f"warning: {baseline.missing}", err=True)
    if published is not None and report is None:
        raise CodecError("--published: is drawn in a page; name one with --report")
    if report is not None:
        from audiocodec.evaluation.page import check_page
        from audiocodec.evaluation.published import read_published

        check_page("codec evaluate --report")
        known = read_published(published) if published is not None else []
    use_threads(threads)
    device = resolve_device(device)
    codecs = [load_codec(model, device) for model in models]
    fingerprints = [codec.fingerprint for codec in codecs]
    for number, model in enumerate(models):
        if fingerprints[number] in fingerprints[:number]:
            first = models[fingerprints.index(fingerprints[number])]
            raise CodecError(f"--model {model}: is the same model as {first}; name it once")
    comparison = compare(
        codecs,
        sources,
        num_codebooks,
        metrics=(*metrics, MOS) if mos else metrics,
        beam=beam,
        coding=coding,
        threads=torch.get_num_threads(),
        jobs=jobs,
        save=save,
        flat=flat,
        overwrite=overwrite,
        stage_bits=report is not None,
        baselines=installed,
        progress=True,
    )
    result = comparison if len(comparison.evaluations) > 1 else comparison.evaluations[0]
    click.echo(json.dumps(result.as_dict(), indent=2) if as_json else result.table())
    if csv is not None:
        result.write_csv(csv)
    if report is not None:
        from audiocodec.evaluation.examples import find_examples
        from audiocodec.evaluation.page import write_page

        examples = find_examples([*codecs, *installed], comparison.evaluations, progress=True)
        write_page(report, comparison, examples, ["codec", *ctx.find_root().obj], known)
    for failure in result.unreadable.values():
        click.echo(f"error: {failure}", err=True)
    return 1 if result.unreadable else 0
