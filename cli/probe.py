"""`codec probe`: what scores do not show."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiocodec.errors import CodecError

from .options import (
    device_option,
    json_option,
    model_option,
    resolve_device,
    threads_option,
    use_threads,
)
from .scoreoptions import counts_option, split_words

if TYPE_CHECKING:
    from audiocodec.evaluation.artefacts import Subject
    from audiocodec.evaluation.probes import Audio
    from audiocodec.runtime import RuntimeCodec


@click.command()
@click.argument("sets", metavar="[DIR...]", nargs=-1, type=click.Path(path_type=Path))
@model_option
@counts_option("all")
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    callback=split_words,
    metavar="CODEC:SETTING...",
    help="Other codecs beside the model, by their programs: opus:6k, speex:4, codec2:3200.",
)
@click.option(
    "--clips",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="Files of each DIR, evenly spread.",
)
@click.option(
    "--noise-clips",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    metavar="N",
    help="Noise of 10 s, of each kind.",
)
@click.option(
    "--noise-level",
    "levels",
    type=float,
    multiple=True,
    default=(-30.0,),
    show_default=True,
    metavar="DBFS",
    help="Of the noise; repeat it for several.",
)
@device_option
@json_option("model, fingerprint, tables (a list of title, head and rows).")
@threads_option()
def command(
    sets: tuple[Path, ...],
    model: str,
    num_codebooks: tuple[int, ...] | None,
    baselines: tuple[str, ...],
    clips: int,
    noise_clips: int,
    levels: tuple[float, ...],
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure what scores do not show.

    Codes silence, tones, clicks and steady noise, and says what became of their level, whether
    noise hums at the rate of the frames, and how far spectral lines at the rates of the decoder's
    levels (a whistle) stand out. Of the recordings in each DIR, it measures offsets, levels, peaks
    and lines; of those of the first DIR also PESQ with an offset and at several input levels.

    Tables are printed as Markdown. Lines are means over the multiples of a rate from 1 kHz on,
    then the largest in brackets, then the mean in the original.

    \b
    codec probe                                      signals that are made here
    codec probe -n 3,12 --baseline "opus:6k"         beside another codec
    codec probe held_out/ noisy/ --clips 12          recordings too
    """
    from audiocodec.checkpoint import load_codec
    from audiocodec.evaluation import artefacts
    from audiocodec.evaluation.probes import level_rates
    from audiocodec.progress import progress_bar

    use_threads(threads)
    codec = load_codec(model, resolve_device(device))
    rate, rates = codec.sample_rate, level_rates(codec)
    subjects = _subjects(codec, num_codebooks, baselines)
    recordings = {str(folder): _some(folder, clips, rate) for folder in sets}
    steps = [
        lambda: [artefacts.silence_table(subjects, rate)],
        lambda: [
            artefacts.noise_table(subjects, rate, codec.hop_length, rates, levels, noise_clips)
        ],
    ]
    if recordings:
        first = next(iter(recordings.values()))
        steps += [
            lambda: artefacts.clip_tables(subjects, recordings, rate, rates),
            lambda: [artefacts.offset_table(subjects, first, rate)],
            lambda: [artefacts.level_table(subjects, first, rate)],
        ]
    tables = []
    with progress_bar(len(steps), "tables", "probe") as bar:
        for step in steps:
            found = step()
            tables += found
            for table in [] if as_json else found:
                click.echo(f"{table.markdown()}\n")
            bar.update()
    if as_json:
        told = [{"title": each.title, "head": each.head, "rows": each.rows} for each in tables]
        result = {"model": codec.name, "fingerprint": codec.fingerprint, "tables": told}
        click.echo(json.dumps(result, indent=2))


def _subjects(
    codec: RuntimeCodec, num_codebooks: tuple[int, ...] | None, baselines: tuple[str, ...]
) -> list[Subject]:
    """The model with each number of codebooks, and other codecs whose programs are installed."""
    from audiocodec.evaluation.artefacts import Subject
    from audiocodec.evaluation.baselines import parse_baselines
    from audiocodec.evaluation.probes import coded
    from audiocodec.evaluation.programs import ProgramBaseline

    subjects = []
    for count in num_codebooks or (codec.num_codebooks,):
        name = f"{codec.name}, {codec.bitrate(codec.resolve_num_codebooks(count)) / 1000:g} kbps"
        subjects.append(Subject(name, partial(coded, codec, num_codebooks=count)))
    for baseline in parse_baselines(baselines):
        if not isinstance(baseline, ProgramBaseline):
            raise CodecError(f"--baseline {baseline.name}: decoded files are no codec to probe")
        if baseline.missing:
            click.echo(f"warning: {baseline.missing}", err=True)
        elif baseline.sample_rate != codec.sample_rate:
            raise CodecError(
                f"--baseline {baseline.name}: codes at {baseline.sample_rate} Hz, and the model at "
                f"{codec.sample_rate} Hz; leave it out"
            )
        else:
            subjects.append(Subject(baseline.name, baseline.reconstruct))
    return subjects


def _some(folder: Path, clips: int, sample_rate: int) -> list[Audio]:
    """The first channels of at most ``clips`` files, evenly spread."""
    from audiocodec.audio import find_audio, load_audio

    files = find_audio(folder)
    chosen = [files[i * len(files) // clips] for i in range(clips)] if len(files) > clips else files
    return [load_audio(file, sample_rate)[0][0].numpy() for file in chosen]
