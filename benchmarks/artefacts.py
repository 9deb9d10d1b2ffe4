"""Measure what scores do not show: silence, levels, offsets, tonal artefacts at the frame rate.

    python benchmarks/artefacts.py EVAL

CLIPS has one folder for each set of clips. The table of scores at several input levels is of the
folder `ls_test_clean` (or of CLIPS itself), the other figures are of all folders. Prints tables,
and draws spectrograms of five clips.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from audiocodec import Codec, find_audio, load_audio, load_codec
from audiocodec.evaluation.alignment import align
from audiocodec.evaluation.metrics import ScoreError
from audiocodec.evaluation.metrics.pesq import pesq_wb
from audiocodec.evaluation.metrics.stoi import stoi
from audiocodec.pictures import draw_spectrograms

Signal = NDArray[np.float32]
HEADLINE = "ls_test_clean"
LEAST_AMPLITUDE = 1e-8


def decibels(amplitude: float) -> float:
    return 20 * float(np.log10(max(amplitude, LEAST_AMPLITUDE)))


def rms(signal: Signal) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


def coded(codec: Codec, signal: Signal, count: int | None = None) -> Signal:
    """``signal [T]`` through the codec."""
    with torch.inference_mode():
        codes = codec.encode(torch.from_numpy(signal)[None, None], count)
        return codec.decode(codes, len(signal))[0, 0].numpy()


def at_level(signal: Signal, level: float) -> Signal:
    """``signal`` scaled to an RMS of ``level`` dBFS and rounded to 16 bits."""
    scaled = signal * (10 ** (level / 20) / rms(signal))
    return (np.round(scaled.clip(-1, 1) * 32767) / 32767).astype(np.float32)


def line_strength(signals: list[Signal], sample_rate: int, frame_rate: float) -> float:
    """How far the spectrum stands out at multiples of the frame rate, in dB.

    The median over the multiples of the long-term power (windows of one second) relative to the
    power half-way between them. It is 0 without an artefact.
    """
    window = np.hanning(sample_rate)
    power = np.zeros(sample_rate // 2 + 1)
    for signal in signals:
        for start in range(0, len(signal) - sample_rate + 1, sample_rate // 2):
            power += np.abs(np.fft.rfft(signal[start : start + sample_rate] * window)) ** 2
    multiples = np.arange(frame_rate, sample_rate / 2 - frame_rate, frame_rate).round().astype(int)
    between = (multiples + frame_rate / 2).round().astype(int)
    near = np.stack([power[between + shift] for shift in (-1, 0, 1)]).mean(axis=0)
    return float(np.median(10 * np.log10(power[multiples] / near)))


def levels(codec: Codec, clips: list[Signal], sample_rate: int) -> None:
    """Print scores and output levels for several input levels."""
    print("| input level, dBFS | PESQ-WB | STOI | output level against input, dB |")
    print("| --- | --- | --- | --- |")
    for level in (-40, -30, -20, -10):
        scores, changes = [], []
        for clip in clips:
            given = at_level(clip, level)
            back = coded(codec, given)
            pair = *align(back, given, sample_rate)[:2], sample_rate
            changes.append(decibels(rms(back)) - decibels(rms(given)))
            try:
                scores.append((pesq_wb(*pair), stoi(*pair)))
            except ScoreError as error:
                print(f"(one clip not scored: {error})")
        pesq, intelligibility = np.mean(scores, axis=0)
        low, high = min(changes), max(changes)
        print(
            f"| {level} | {pesq:.2f} | {intelligibility:.3f} | {low:+.2f} to {high:+.2f} |",
            flush=True,
        )


@click.command()
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("--count", default=20, show_default=True, help="Clips of each folder to measure.")
@click.option(
    "--picture",
    default=Path(__file__).resolve().parents[1] / "docs" / "spectrograms.png",
    type=click.Path(path_type=Path),
)
def main(clips: Path, model: str, count: int, picture: Path) -> None:
    """Measure artefacts of a model on CLIPS."""
    torch.set_num_threads(1)
    codec = load_codec(model)
    rate = codec.sample_rate

    def some(folder: Path) -> list[Signal]:
        files = find_audio(folder)
        files = files[:: max(1, len(files) // count)][:count]
        return [load_audio(file, rate)[0][0].numpy() for file in files]

    silence = coded(codec, np.zeros(5 * rate, np.float32))
    print(f"model {codec.name} {codec.fingerprint}, all codebooks\n")
    print(f"digital silence is decoded to {decibels(rms(silence)):.0f} dBFS\n")

    folders = sorted(path for path in clips.iterdir() if path.is_dir()) or [clips]
    print("| clips | largest offset, dBFS | level change, dB | largest sample in, out | ", end="")
    print("line at the frame rate, in, out, dB |\n| --- | --- | --- | --- | --- |")
    for folder in folders:
        references = some(folder)
        reconstructions = [coded(codec, signal) for signal in references]
        offset = max(decibels(abs(float(signal.mean()))) for signal in reconstructions)
        changes = [
            decibels(rms(reconstruction)) - decibels(rms(reference))
            for reconstruction, reference in zip(reconstructions, references, strict=True)
        ]
        peaks = [
            max(float(np.abs(signal).max()) for signal in some)
            for some in (references, reconstructions)
        ]
        lines = [
            line_strength(signals, rate, codec.frame_rate)
            for signals in (references, reconstructions)
        ]
        print(
            f"| {folder.name} ({len(references)}) | {offset:.0f} | {min(changes):+.1f} to "
            f"{max(changes):+.1f} | {peaks[0]:.2f}, {peaks[1]:.2f} | {lines[0]:+.1f}, "
            f"{lines[1]:+.1f} |",
            flush=True,
        )
    print()
    headline = some(clips / HEADLINE if (clips / HEADLINE).is_dir() else clips)
    levels(codec, headline, rate)

    rows = []
    for signal in headline[:5]:
        cut = signal[: 4 * rate]
        shown = {"original": cut}
        for codebooks in sorted({max(1, codec.num_codebooks // 4), codec.num_codebooks}):
            kbps = codec.bitrate(codebooks) / 1000
            shown[f"{kbps:g} kbps"] = coded(codec, cut, codebooks)
        figure = draw_spectrograms(shown, rate)
        figure.canvas.draw()
        rows.append(np.asarray(figure.canvas.buffer_rgba())[..., :3])  # type: ignore[attr-defined]
    Image.fromarray(np.concatenate(rows)).quantize(64).save(picture, optimize=True)


if __name__ == "__main__":
    main()
