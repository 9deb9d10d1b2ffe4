"""Compare the model with other codecs: quality against bitrate, and against computing time.

    python benchmarks/results.py TEST_CLEAN_52

Evaluates the model, and the classical codecs that are installed (Debian's `opus-tools`, `speex`,
`codec2`) on the same clips with the same scores. The figures of other neural codecs are from
`published.csv`. Prints a table and draws two pictures.

A bitrate is that of the codes or packets, without container and headers. The model has a row for
each coding of its codes: the audio is the same. Real-time factors are
seconds of computing per second of audio on one thread. Those in `published.csv` were measured on a
similar machine (2 virtual cores of an AMD EPYC, 10 s clips) with other work on it.
"""

from __future__ import annotations

import csv
import math
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import soundfile
import soxr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from audiocodec import evaluate, find_audio, load_audio, load_codec
from audiocodec.evaluation.metrics import select_metrics
from audiocodec.evaluation.rows import ScoredFile
from audiocodec.evaluation.scoring import Pair, score_pairs
from audiocodec.tokens.header import FIXED

HERE = Path(__file__).parent
RATE = 16_000
Audio = np.ndarray


class Point(NamedTuple):
    """One system at one bitrate; a score that was not measured is None."""

    system: str
    kbps: float
    pesq_wb: float | None
    stoi: float | None
    distill_mos: float | None
    factor: float | None
    """Seconds of computing per second of audio, encoding and decoding together."""
    source: str


@dataclass(frozen=True)
class Peer:
    """A codec with a command line: the programs it needs, and a function that codes a clip."""

    system: str
    needs: tuple[str, str]
    setting: str
    code: Callable[[str, Audio, Path], tuple[Audio, int]]
    """``(setting, audio [T], scratch folder)`` -> the decoded audio, bytes of payload."""


def run(*words: object, **options: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True, **options)


def ogg_packets(path: Path) -> Iterator[int]:
    """The sizes of an Ogg file's packets (RFC 3533: pages of segments of up to 255 bytes)."""
    data, at, size = path.read_bytes(), 0, 0
    while data[at : at + 4] == b"OggS":
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        for segment in lacing:
            size += segment
            if segment < 255:
                yield size
                size = 0
        at += 27 + len(lacing) + sum(lacing)


def through_ogg(encode: list[object], decode: list[object], audio: Audio, folder: Path) -> Audio:
    soundfile.write(folder / "in.wav", audio, RATE, "PCM_16")
    run(*encode, cwd=folder)
    run(*decode, cwd=folder)
    back, rate = soundfile.read(folder / "out.wav", dtype="float32")
    return back if rate == RATE else soxr.resample(back, rate, RATE)


def opus(setting: str, audio: Audio, folder: Path) -> tuple[Audio, int]:
    encode = ["opusenc", "--speech", "--bitrate", setting, "in.wav", "coded"]
    back = through_ogg(encode, ["opusdec", "--rate", RATE, "coded", "out.wav"], audio, folder)
    return back, sum(list(ogg_packets(folder / "coded"))[2:])


def speex(setting: str, audio: Audio, folder: Path) -> tuple[Audio, int]:
    encode = ["speexenc", "--wideband", "--quality", setting, "in.wav", "coded"]
    back = through_ogg(encode, ["speexdec", "coded", "out.wav"], audio, folder)
    return back, sum(list(ogg_packets(folder / "coded"))[2:])


def codec2(setting: str, audio: Audio, folder: Path) -> tuple[Audio, int]:
    narrow = soxr.resample(audio, RATE, RATE // 2)
    (folder / "in.raw").write_bytes((narrow.clip(-1, 1) * 32767).astype("<i2").tobytes())
    run("c2enc", setting, folder / "in.raw", folder / "coded")
    run("c2dec", setting, folder / "coded", folder / "out.raw")
    back = np.fromfile(folder / "out.raw", "<i2").astype(np.float32) / 32768
    return soxr.resample(back, RATE // 2, RATE), (folder / "coded").stat().st_size


PEERS = [
    *(Peer("Opus 1.3", ("opusenc", "opusdec"), kbps, opus) for kbps in ("6", "9", "12")),
    *(Peer("Speex", ("speexenc", "speexdec"), quality, speex) for quality in "0123"),
    *(Peer("Codec2", ("c2enc", "c2dec"), mode, codec2) for mode in ("700C", "1600", "3200")),
]


def measure_peer(peer: Peer, clips: dict[Path, Audio], jobs: int, mos: bool) -> Point:
    """Code and score all clips with one setting of another codec."""
    pairs, payload, worked = [], 0, 0.0
    for path, audio in clips.items():
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            back, size = peer.code(peer.setting, audio, Path(folder))
            worked += time.perf_counter() - began
        payload += size
        fitted = np.zeros_like(audio)
        fitted[: len(back)] = back[: len(audio)]
        row = ScoredFile(str(path), len(audio) / RATE, 1)
        pairs.append(Pair(row, fitted[None], audio[None], RATE))
    metrics = select_metrics(("distill_mos",) if mos else ())
    rows = list(score_pairs(pairs, metrics, jobs))
    seconds = sum(row.seconds for row in rows)

    def mean(score: str) -> float | None:
        values = [row.scores[score] for row in rows if score in row.scores]
        return statistics.mean(values) if values else None

    return Point(
        peer.system,
        8e-3 * payload / seconds,
        mean("pesq_wb"),
        mean("stoi"),
        mean("distill_mos"),
        worked / seconds,
        "run here (time includes starting the commands)",
    )


def measure_model(model: str, files: list[Path], counts: tuple[int, ...], mos: bool) -> list[Point]:
    """Evaluate a model with several numbers of codebooks, and with each coding that it has.

    The scores are computed once: both codings hold the same codes.
    """
    codec = load_codec(model)
    metrics = ("distill_mos",) if mos else ()
    coding = codec.default_coding()
    scores = evaluate(codec, files, counts, metrics=metrics, coding=coding, progress=True)

    def mean(score: str, count: int) -> float | None:
        found = scores.mean(score, count)
        return found.mean if found else None

    def factor(count: int) -> float:
        works = (scores.real_time_factor(work, count) for work in ("encode", "decode"))
        return sum(work or 0 for work in works)

    def point(count: int, system: str, kbps: float, cost: float | None) -> Point:
        return Point(
            system,
            kbps,
            mean("pesq_wb", count),
            mean("stoi", count),
            mean("distill_mos", count) if mos else None,
            cost,
            f"run here, {codec.fingerprint}",
        )

    name = f"audiocodec {codec.name}"
    points = []
    if coding != FIXED:
        for count in scores.num_codebooks:
            kbps = mean("payload_kbps", count) or math.nan
            points.append(point(count, f"{name}, {coding} coding", kbps, factor(count)))
    for count in scores.num_codebooks:
        kbps = codec.bitrate(count) / 1000
        cost = factor(count) if coding == FIXED else None
        points.append(point(count, f"{name}, {FIXED} coding", kbps, cost))
    return points


def published() -> list[Point]:
    """The figures of `published.csv`."""
    with (HERE / "published.csv").open() as file:
        rows = list(csv.DictReader(file))

    def number(text: str) -> float | None:
        return float(text) if text else None

    return [
        Point(
            row["system"],
            float(row["kbps"]),
            number(row["pesq_wb"]),
            number(row["stoi"]),
            number(row["distill_mos"]),
            float(row["encode"]) + float(row["decode"]) if row["encode"] else None,
            row["source"],
        )
        for row in rows
    ]


def table(points: list[Point]) -> str:
    """The points as a Markdown table."""

    def cell(value: float | None, form: str) -> str:
        return "-" if value is None else f"{value:{form}}"

    lines = [
        "| system | kbps | PESQ-WB | STOI | DistillMOS | source |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {p.system} | {p.kbps:.2f} | {cell(p.pesq_wb, '.2f')} | {cell(p.stoi, '.3f')} "
        f"| {cell(p.distill_mos, '.2f')} | {p.source} |"
        for p in points
    ]
    return "\n".join(lines)


def draw(points: list[Point], x: str, y: str, panel: Axes) -> None:
    """Draw one line for each system; those of this codec are thick, with fixed coding dashed."""
    systems = list(dict.fromkeys(p.system for p in points))  # the same colour on every panel
    for number, system in enumerate(systems):
        found = sorted(
            (getattr(p, x), getattr(p, y))
            for p in points
            if p.system == system and getattr(p, x) is not None and getattr(p, y) is not None
        )
        if not found:
            continue
        ours = system.startswith("audiocodec")
        panel.plot(
            *zip(*found, strict=True),
            "--" if system.endswith(f", {FIXED} coding") or number >= 10 else "-",
            marker="o",
            linewidth=2.5 if ours else 1.2,
            color="black" if ours else f"C{number % 10}",
            label=system,
        )
    panel.grid(alpha=0.3)


def pictures(points: list[Point], folder: Path) -> None:
    """Draw ``quality.png`` (scores against kbps) and ``cost.png`` (PESQ against time)."""
    scores = {"pesq_wb": "PESQ-WB", "stoi": "STOI", "distill_mos": "DistillMOS"}
    measured = {s: t for s, t in scores.items() if any(getattr(p, s) is not None for p in points)}
    figure = Figure(figsize=(15, 4.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(measured), squeeze=False)[0]
    for panel, (score, title) in zip(panels, measured.items(), strict=True):
        draw(points, "kbps", score, panel)
        panel.set_xlabel("kbps")
        panel.set_ylabel(title)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(folder / "quality.png")

    figure = Figure(figsize=(7, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    nearest = {
        p.system: p for p in sorted(points, key=lambda p: -abs(p.kbps - 6)) if p.factor is not None
    }
    draw([p for p in nearest.values() if abs(p.kbps - 6) < 2.1], "factor", "pesq_wb", panel)
    for p in nearest.values():
        if abs(p.kbps - 6) < 2.1 and p.pesq_wb is not None and p.factor is not None:
            panel.annotate(f"{p.kbps:.1f} kbps", (p.factor, p.pesq_wb), fontsize=7)
    panel.set_xscale("log")
    panel.set_xlabel("seconds of computing per second of audio, one thread, encode + decode")
    panel.set_ylabel("PESQ-WB near 6 kbps")
    panel.legend(fontsize=8)
    figure.savefig(folder / "cost.png")


@click.command()
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("-n", "counts", default="1,2,3,4,6,12", show_default=True)
@click.option("--mos", is_flag=True, help="Add DistillMOS (extra `mos`).")
@click.option("--jobs", default=2, show_default=True, help="Processes that score.")
@click.option("--out", default=HERE.parent / "docs", type=click.Path(path_type=Path))
def main(clips: Path, model: str, counts: str, mos: bool, jobs: int, out: Path) -> None:
    """Compare a model with other codecs on CLIPS."""
    files = find_audio(clips)
    points = measure_model(model, files, tuple(map(int, counts.split(","))), mos)
    audio = {path: load_audio(path, RATE)[0][0].numpy() for path in files}
    for peer in PEERS:
        if missing := [name for name in peer.needs if shutil.which(name) is None]:
            click.echo(f"{peer.system} {peer.setting}: skipped, no {missing[0]} here", err=True)
            continue
        points.append(measure_peer(peer, audio, jobs, mos))
        click.echo(f"{peer.system} {peer.setting}: done", err=True)
    points += published()
    print(f"{len(files)} clips of {clips.name}\n\n{table(points)}")
    pictures(points, out)


if __name__ == "__main__":
    main()
