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
from pathlib import Path
from typing import NamedTuple

import click
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from audiocodec import find_audio, load_codec
from audiocodec.evaluation import Evaluation, compare
from audiocodec.evaluation.baselines import Baseline, parse_baseline
from audiocodec.tokens.header import FIXED

HERE = Path(__file__).parent


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


SYSTEMS = {"opus": "Opus 1.3", "speex": "Speex", "codec2": "Codec2"}
BASELINES = "opus:6k opus:9k opus:12k speex:0 speex:1 speex:2 speex:3 "
BASELINES += "codec2:700C codec2:1600 codec2:3200"


def installed_baselines() -> list[Baseline]:
    """The baselines whose programs are installed; a line on stderr for each of the others."""
    found = [parse_baseline(name) for name in BASELINES.split()]
    for baseline in found:
        if baseline.missing:
            click.echo(baseline.missing, err=True)
    return [baseline for baseline in found if not baseline.missing]


def baseline_point(scores: Evaluation) -> Point:
    """The means of another codec with one setting."""
    means = {
        name: scores.mean(name, 0) if name in (*scores.metrics, "payload_kbps") else None
        for name in ("payload_kbps", "pesq_wb", "stoi", "distill_mos")
    }
    kbps, *rest = (found.mean if found else None for found in means.values())
    works = (scores.real_time_factor(work, 0) for work in ("encode", "decode"))
    return Point(
        SYSTEMS[scores.model.partition(":")[0]],
        math.nan if kbps is None else kbps,
        *rest,
        sum(factor or 0.0 for factor in works),
        "run here (time includes starting the commands)",
    )


def measure(
    model: str, files: list[Path], counts: tuple[int, ...], mos: bool, jobs: int
) -> list[Point]:
    """Evaluate other codecs, and a model with several numbers of codebooks and each of its codings.

    The scores are computed once: both codings hold the same codes.
    """
    codec = load_codec(model)
    metrics = ("distill_mos",) if mos else ()
    coding = codec.default_coding()
    scores, *others = compare(
        [codec],
        files,
        counts,
        metrics=metrics,
        coding=coding,
        jobs=jobs,
        baselines=installed_baselines(),
        progress=True,
    ).evaluations

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
    return points + [baseline_point(each) for each in others]


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
    points = measure(model, files, tuple(map(int, counts.split(","))), mos, jobs)
    points += published()
    print(f"{len(files)} clips of {clips.name}\n\n{table(points)}")
    pictures(points, out)


if __name__ == "__main__":
    main()
