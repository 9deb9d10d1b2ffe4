"""Charts of an evaluation: scores against bitrate, cost and files, and use of the codebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from audiocodec.evaluation.metrics import METRICS
from audiocodec.evaluation.published import Published
from audiocodec.evaluation.result import Evaluation
from audiocodec.pictures import subplots
from audiocodec.tokens import stats
from audiocodec.tokens.rates import code_bits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
"""Panels beside one another."""


def draw_quality(evaluations: Sequence[Evaluation], published: Sequence[Published] = ()) -> Figure:
    """Each score against the kbps of the codes in the token files: means and 95 % intervals.

    Published scores are dotted and have no intervals.
    """
    figure, panels = _panels(evaluations)
    for metric, panel in panels.items():
        lines: dict[str, list[tuple[float, float, float]]] = {}
        for evaluation in evaluations:
            # A baseline such as opus:6k is a point of the line of its codec.
            name = evaluation.model.split(":")[0] if evaluation.is_baseline else evaluation.model
            for count in evaluation.num_codebooks:
                kbps, mean = (evaluation.mean(name, count) for name in ("payload_kbps", metric))
                if kbps and mean:
                    lines.setdefault(name, []).append((kbps.mean, mean.mean, mean.ci95 or 0.0))
        for name, points in lines.items():
            x, y, half = zip(*sorted(points), strict=True)
            panel.errorbar(x, y, half, marker="o", capsize=3, label=_safe(name))
        for system, known in _by_system(published).items():
            shown = sorted((p.kbps, p.scores[metric]) for p in known if metric in p.scores)
            # All systems in all panels: a colour is one system, and the legend has all.
            x, y = zip(*shown, strict=True) if shown else ((), ())
            panel.plot(x, y, ":", marker="x", linewidth=1, label=_safe(system))
        panel.set(xlabel="kbps per channel", ylabel=METRICS[metric].title, xlim=(0, None))
        panel.grid(alpha=0.3)
    _legend(figure, panels.values(), len(evaluations) + len(published))
    return figure


def draw_cost(
    evaluations: Sequence[Evaluation],
    published: Sequence[Published],
    metric: str = "pesq_wb",
    kbps: float = 6.0,
) -> Figure:
    """A score against seconds of computing per second of audio, of each system near one bitrate.

    Of each system the bitrate nearest to ``kbps`` is shown, if it is at most a third away.
    """
    figure, grid = subplots(1, 1, (7.0, 4.0))
    panel = grid[0, 0]
    points: dict[str, list[tuple[float, float, float]]] = {}
    for each in evaluations:
        name = each.model.split(":")[0] if each.is_baseline else each.model
        for count in each.num_codebooks:
            rate, mean = each.mean("payload_kbps", count), each.mean(metric, count)
            works = [each.real_time_factor(work, count) for work in ("encode", "decode")]
            if rate and mean and None not in works:
                cost = sum(work for work in works if work is not None)
                points.setdefault(name, []).append((rate.mean, cost, mean.mean))
    for known in published:
        if known.factor is not None and metric in known.scores:
            point = known.kbps, known.factor, known.scores[metric]
            points.setdefault(known.system, []).append(point)
    for name, found in points.items():
        rate_found, cost, score = min(found, key=lambda point: abs(point[0] - kbps))
        if abs(rate_found - kbps) <= kbps / 3:
            panel.plot(cost, score, "o", label=f"{_safe(name)}, {rate_found:.1f} kbps")
    panel.set(
        xscale="log",
        xlabel="seconds of computing per second of audio, encode + decode",
        ylabel=f"{METRICS[metric].title} near {kbps:g} kbps",
    )
    panel.grid(alpha=0.3)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(fontsize=7)
    return figure


def draw_distributions(evaluations: Sequence[Evaluation]) -> Figure:
    """Each score of every file: quartiles, whiskers of 1.5 interquartile ranges, outliers."""
    figure, panels = _panels(evaluations)
    several = len(evaluations) > 1
    for metric, panel in panels.items():
        values, labels = [], []
        for evaluation in evaluations:
            for count in evaluation.num_codebooks:
                rows = [row for row in evaluation.rows if row.num_codebooks == count]
                values.append([row.scores[metric] for row in rows if metric in row.scores])
                name = _safe(evaluation.model)
                labels.append(f"{name} {count or ''}" if several else str(count))
        panel.boxplot(values, widths=0.6, medianprops={"color": "C1"}, flierprops={"markersize": 3})
        panel.set_xticks(range(1, len(labels) + 1), labels, fontsize=7 if several else 9)
        panel.tick_params(axis="x", rotation=90 if several else 0)
        panel.set(xlabel="codebooks", ylabel=METRICS[metric].title)
        panel.grid(alpha=0.3, axis="y")
    return figure


def draw_codebooks(evaluations: Sequence[Evaluation]) -> Figure:
    """For each codebook, the share of its entries that occur, and perplexity over size."""
    figure, grid = subplots(1, 2, (9.0, 2.8), sharex=True)
    used, even = grid[0]
    for evaluation in evaluations:
        if evaluation.is_baseline:
            continue
        found = evaluation.codebooks()
        numbers = range(1, len(found) + 1)
        label = _safe(evaluation.model)
        used.plot(numbers, [100 * each["usage"] for each in found], "o-", label=label, ms=4)
        shares = [100 * each["perplexity"] / each["size"] for each in found]
        even.plot(numbers, shares, "o-", label=label, ms=4)
    used.set(xlabel="codebook", ylabel="entries that occur, %", ylim=(0, 103))
    even.set(xlabel="codebook", ylabel="perplexity, % of entries", ylim=(0, 103))
    for panel in grid[0]:
        panel.grid(alpha=0.3)
    _legend(figure, grid[0], len(evaluations))
    return figure


def draw_bits(evaluation: Evaluation) -> Figure:
    """Bits of a code by codebook: fixed coding, entropy of the entries, and context coding."""
    figure, grid = subplots(1, 1, (6.0, 2.8))
    panel = grid[0, 0]
    fixed = [code_bits(len(counts)) for counts in evaluation.code_counts]
    curves: dict[str, Sequence[float]] = {"fixed coding": fixed}
    curves["entropy of the entries"] = [stats.entropy(counts) for counts in evaluation.code_counts]
    if found := evaluation.bits_by_stage():
        curves["context coding"] = found
    for name, values in curves.items():
        panel.plot(range(1, len(values) + 1), values, "o-", label=name, markersize=4)
    panel.set(xlabel="codebook", ylabel="bits per code", ylim=(0, 1.1 * max(fixed)))
    panel.legend(fontsize=8, loc="lower right")
    panel.grid(alpha=0.3)
    return figure


def _by_system(published: Sequence[Published]) -> dict[str, list[Published]]:
    found: dict[str, list[Published]] = {}
    for each in published:
        found.setdefault(each.system, []).append(each)
    return found


def _panels(evaluations: Sequence[Evaluation]) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each metric that any file has a score of."""
    present = {name for each in evaluations for row in each.rows for name in row.scores}
    metrics = [name for name in evaluations[0].metrics if name in present]
    columns = max(1, min(COLUMNS, len(metrics)))
    rows = max(1, -(-len(metrics) // columns))
    figure, grid = subplots(rows, columns, (4.0 * columns, 3.1 * rows))
    flat = list(np.ravel(grid))
    for panel in flat[len(metrics) :]:
        panel.set_visible(False)
    return figure, dict(zip(metrics, flat, strict=False))


def _legend(figure: Figure, panels: Iterable[Axes], models: int) -> None:
    """One legend for all panels, if there are several models."""
    first = next(iter(panels), None)
    if first is not None and models > 1:
        handles = first.get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=3, fontsize=8)


def _safe(name: str) -> str:
    """``name`` without the sign that begins a formula."""
    return name.replace("$", r"\$")
