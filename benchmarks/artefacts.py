"""Measure what scores do not show: lines, noise, offsets, levels, silence.

    python benchmarks/artefacts.py EVAL

CLIPS is one set of clips, or, if it has a folder `ls_test_clean`, has a folder for each set. The
tables of offsets and of input levels are of `ls_test_clean` (or of CLIPS), that of noise needs no
clips, the others are of all sets. Prints tables; `--picture` draws spectrograms of five clips.
`codec evaluate --metrics pitch,bands,lines` has such scores of each clip.

Lines are means over the multiples from 1 kHz on, then the largest in brackets, then the mean in
the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from audiocodec import find_audio, load_audio, load_codec
from audiocodec.evaluation.alignment import align
from audiocodec.evaluation.metrics import ScoreError
from audiocodec.evaluation.metrics.lines import line_strengths, long_term_powers
from audiocodec.evaluation.metrics.pesq import pesq_wb
from audiocodec.evaluation.metrics.signal import SPEECH_RATE, resample_pair
from audiocodec.evaluation.metrics.stoi import stoi
from audiocodec.evaluation.metrics.voicing import Where
from audiocodec.evaluation.probes import (
    NOISES,
    at_level,
    coded,
    decibels,
    level_change,
    level_rates,
    modulation,
    noise,
    offset_scores,
    rms,
)
from audiocodec.pictures import draw_spectrograms
from audiocodec.runtime import RuntimeCodec

Signal = NDArray[np.float32]
Pairs = Sequence[tuple[Signal, Signal]]  # reconstructions and references
HEADLINE = "ls_test_clean"
OFFSETS = (0.0, 0.01, 0.03, 0.1)


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*cells: str) -> None:
    print()
    row(*cells)
    row(*["--"] * len(cells))


def kbps(codec: RuntimeCodec, count: int) -> str:
    return f"{codec.bitrate(count) / 1000:g}"


def line_cells(pairs: Pairs, where: Where, rates: list[int], sample_rate: int) -> list[str]:
    """For each rate, `mean (largest), mean in the original` of the lines in dB."""
    both = [resample_pair(*pair, sample_rate) for pair in pairs]
    try:
        powers = long_term_powers(both, where)
        found, before = ([line_strengths(power, rate) for rate in rates] for power in powers)
    except ScoreError as error:
        return [str(error)] * len(rates)
    return [
        f"{lines.mean():+.1f} ({lines.max():+.1f}), {original.mean():+.1f}"
        for lines, original in zip(found, before, strict=True)
    ]


def clip_tables(codec: RuntimeCodec, folders: dict[str, list[Signal]], counts: list[int]) -> None:
    """Offset, level, peak and lines of every set of clips."""
    decoded = {
        (name, count): [(coded(codec, clip, count), clip) for clip in clips]
        for name, clips in folders.items()
        for count in counts
    }
    head("clips", "kbps", "largest offset, dBFS", "level change, dB", "largest sample in, out")
    for (name, count), pairs in decoded.items():
        offset = max(decibels(abs(float(after.mean()))) for after, _ in pairs)
        changes = [decibels(rms(after)) - decibels(rms(before)) for after, before in pairs]
        largest = [max(float(np.abs(pair[i]).max()) for pair in pairs) for i in (1, 0)]
        row(
            f"{name} ({len(pairs)})",
            kbps(codec, count),
            f"{offset:.0f}",
            f"{min(changes):+.1f} to {max(changes):+.1f}",
            f"{largest[0]:.2f}, {largest[1]:.2f}",
        )
    rates = level_rates(codec)
    head("clips", "kbps", "frames", *(f"lines {rate} Hz apart, dB" for rate in rates))
    for (name, count), pairs in decoded.items():
        kinds: tuple[Where, ...] = ("voiced", "pauses")
        for where in kinds:
            cells = line_cells(pairs, where, rates, codec.sample_rate)
            row(f"{name} ({len(pairs)})", kbps(codec, count), where, *cells)


def noise_table(codec: RuntimeCodec, levels: list[float], counts: list[int], clips: int) -> None:
    """Lines, modulation and level of steady noise."""
    rates = level_rates(codec)
    lines = [f"lines {rate} Hz apart, dB" for rate in rates]
    modulated = ["modulation depth, dB", "line in the envelope, dB"]
    head("noise", "dBFS", "kbps", *lines, *modulated, "level, dB", "level above 7 kHz, dB")
    rate = codec.sample_rate
    for kind in NOISES:
        for level in levels:
            given = [noise(kind, level, 10.0, rate, seed) for seed in range(clips)]
            for count in counts:
                pairs = [(coded(codec, clip, count), clip) for clip in given]
                found = [modulation(after[rate:], codec.hop_length) for after, _ in pairs]
                changes = [
                    np.mean([level_change(*pair, rate, low, SPEECH_RATE / 2) for pair in pairs])
                    for low in (0, 7000)
                ]
                row(
                    f"{kind} ({clips})",
                    f"{level:g}",
                    kbps(codec, count),
                    *line_cells(pairs, "all", rates, rate),
                    f"{np.mean([each.depth for each in found]):.1f}",
                    f"{np.mean([each.line for each in found]):.1f}",
                    *(f"{change:+.1f}" for change in changes),
                )


def offset_table(codec: RuntimeCodec, clips: list[Signal], counts: list[int]) -> None:
    """PESQ of clips with an offset, against the clips without."""
    head("kbps", *(f"PESQ-WB, offset {offset:g}" for offset in OFFSETS))
    for count in counts:
        scores = [offset_scores(codec, clip, pesq_wb, OFFSETS, count) for clip in clips]
        means = [np.mean([each[offset] for each in scores]) for offset in OFFSETS]
        row(kbps(codec, count), *(f"{mean:.2f}" for mean in means))


def level_table(codec: RuntimeCodec, clips: list[Signal]) -> None:
    """Scores and output levels for several input levels."""
    head("input level, dBFS", "PESQ-WB", "STOI", "output level against input, dB")
    for level in (-40, -30, -20, -10):
        scores, changes = [], []
        for clip in clips:
            given = at_level(clip, level)
            back = coded(codec, given)
            pair = *align(back, given, codec.sample_rate)[:2], codec.sample_rate
            changes.append(decibels(rms(back)) - decibels(rms(given)))
            try:
                scores.append((pesq_wb(*pair), stoi(*pair)))
            except ScoreError as error:
                print(f"(one clip not scored: {error})")
        pesq, intelligibility = np.mean(scores, axis=0)
        change = f"{min(changes):+.2f} to {max(changes):+.2f}"
        row(level, f"{pesq:.2f}", f"{intelligibility:.3f}", change)


def draw(codec: RuntimeCodec, clips: list[Signal], picture: Path) -> None:
    """Spectrograms of some clips below one another."""
    rows = []
    for signal in clips:
        cut = signal[: 4 * codec.sample_rate]
        shown = {"original": cut}
        for count in sorted({max(1, codec.num_codebooks // 4), codec.num_codebooks}):
            shown[f"{kbps(codec, count)} kbps"] = coded(codec, cut, count)
        figure = draw_spectrograms(shown, codec.sample_rate)
        figure.canvas.draw()
        rows.append(np.asarray(figure.canvas.buffer_rgba())[..., :3])  # type: ignore[attr-defined]
    Image.fromarray(np.concatenate(rows)).quantize(64).save(picture, optimize=True)


@click.command()
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("--count", default=20, show_default=True, help="Clips of each folder to measure.")
@click.option("-n", "--num-codebooks", "counts", multiple=True, type=int, help="Default: all.")
@click.option("--noise-clips", default=6, show_default=True, help="Noise of 10 s, of each kind.")
@click.option("--noise-level", "levels", multiple=True, default=(-30.0,), show_default=True)
@click.option("--no-levels", is_flag=True, help="Leave out the table of input levels.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw spectrograms here.")
def main(
    clips: Path,
    model: str,
    count: int,
    counts: tuple[int, ...],
    noise_clips: int,
    levels: tuple[float, ...],
    no_levels: bool,
    picture: Path | None,
) -> None:
    """Measure artefacts of a model on CLIPS."""
    torch.set_num_threads(1)
    codec = load_codec(model)
    numbers = sorted(counts) or [codec.num_codebooks]

    def some(folder: Path) -> list[Signal]:
        files = find_audio(folder)
        files = files[:: max(1, len(files) // count)][:count]
        return [load_audio(file, codec.sample_rate)[0][0].numpy() for file in files]

    silence = coded(codec, np.zeros(5 * codec.sample_rate, np.float32))
    print(f"model {codec.name} {codec.fingerprint}\n")
    print(f"digital silence is decoded to {decibels(rms(silence)):.0f} dBFS")
    sets = [clips]
    if (clips / HEADLINE).is_dir():
        sets = sorted(path for path in clips.iterdir() if path.is_dir())
    folders = {folder.name: some(folder) for folder in sets}
    headline = folders.get(HEADLINE) or next(iter(folders.values()))
    clip_tables(codec, folders, numbers)
    noise_table(codec, list(levels), numbers, noise_clips)
    offset_table(codec, headline, numbers)
    if not no_levels:
        level_table(codec, headline)
    if picture:
        draw(codec, headline[:5], picture)


if __name__ == "__main__":
    main()
