"""Draw how the entries of VQ and of SimVQ move in a plane while they learn to follow some points.

    python benchmarks/simvq_plane.py [--picture docs/simvq_plane.png]

128 entries of two dimensions, and 2,000 points in the shape of an arc. Each step shows the codebook
64 points. In the first two rows the entries are random, as in the articles. In the others they are
fitted to the points by k-means, as the recipes have it, and then the points move, as latents do
while the encoder learns.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import click
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from audiocodec.quantization.simvq import SimVQCodebook, SimVQConfig
from audiocodec.quantization.vq import VQCodebook, VQConfig

ROOT = Path(__file__).resolve().parents[1]
SHOWN = [0, 100, 1500]
RATE = 1e-2
PATH = (-2.5, -1.0)
"""How far the points move over all steps, in the rows where they do."""


class Moment(NamedTuple):
    """After some steps: points, entries ``[size, 2]``, which of them are in use, and the error."""

    points: Tensor
    entries: Tensor
    used: Tensor
    error: float


def arc(count: int, generator: torch.Generator) -> Tensor:
    """Points ``[count, 2]`` around an arc right of the origin."""
    angles = (torch.rand(count, generator=generator) - 0.5) * 1.2 * math.pi
    radii = 1 + 0.15 * torch.randn(count, generator=generator)
    return torch.stack([2 + radii * angles.cos(), 1.5 + radii * angles.sin()], dim=1)


def learn(
    codebook: SimVQCodebook | VQCodebook, points: Tensor, shown: list[int], path: Tensor
) -> list[Moment]:
    """Train a codebook on batches of 64 points with Adam while all points move along ``path``."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(codebook.parameters(), RATE)
    moments = []
    for step in range(shown[-1] + 1):
        now = points + path * (step / shown[-1])
        if step in shown:
            with torch.no_grad():
                table = codebook.table().clone()
                codes = codebook.nearest(now)
            error = (now - table[codes]).square().sum(dim=1).mean().item()
            used = torch.bincount(codes, minlength=len(table)) > 0
            moments.append(Moment(now, table, used, error))
        batch = now[torch.randint(len(points), (64,), generator=generator)]
        loss = codebook.loss(batch, codebook.lookup(codebook.nearest(batch)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return moments


def all_moments(size: int, points: Tensor, shown: list[int]) -> dict[str, list[Moment]]:
    """The rows of the picture. Rows of VQ and SimVQ start from equal tables."""
    rows = {}
    for fitted in (False, True):
        torch.manual_seed(0)
        kind = "kmeans" if fitted else "random"
        simvq = SimVQCodebook(SimVQConfig(size=size, dim=2, initialisation=kind))
        simvq.initialise(points, torch.Generator().manual_seed(0))
        plain = VQCodebook(VQConfig(size=size, dim=2))
        plain.entries.data.copy_(simvq.table().detach())
        path = torch.tensor(PATH) * fitted
        how = "fitted, points move" if fitted else "random entries"
        for name, codebook in (("VQ", plain), ("SimVQ", simvq)):
            rows[f"{name}: {how}"] = learn(codebook, points, shown, path)
    return rows


def draw(rows: dict[str, list[Moment]], shown: list[int], path: Path) -> None:
    """A row for each codebook, a column for each moment."""
    figure = Figure(figsize=(8.4, 10.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), len(shown), sharex=True, sharey=True)
    for line, (name, moments) in zip(panels, rows.items(), strict=True):
        for panel, (points, entries, used, error) in zip(line, moments, strict=True):
            panel.scatter(*points.T, s=2, color="0.8", label="points")
            panel.scatter(*entries[~used].T, s=9, color="tab:blue", label="entries never chosen")
            panel.scatter(*entries[used].T, s=14, color="tab:red", label="entries in use")
            panel.set_title(
                f"{int(used.sum())} of {len(used)} in use, error {error:.3f}", fontsize=9
            )
            panel.set_aspect("equal")
        line[0].set_ylabel(name, fontsize=9)
    for panel, step in zip(panels[-1], shown, strict=True):
        panel.set_xlabel(f"after {step} steps" if step else "at the beginning")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.savefig(path)


@click.command()
@click.option(
    "--picture",
    default=ROOT / "docs" / "simvq_plane.png",
    type=click.Path(path_type=Path),
    help="File to write.  [default: docs/simvq_plane.png]",
)
def main(picture: Path) -> None:
    """Draw how VQ and SimVQ follow points in a plane."""
    points = arc(2000, torch.Generator().manual_seed(0))
    rows = all_moments(128, points, SHOWN)
    for name, moments in rows.items():
        for step, moment in zip(SHOWN, moments, strict=True):
            print(f"{name}: step {step}, {int(moment.used.sum())} in use, error {moment.error:.4f}")
    draw(rows, SHOWN, picture)


if __name__ == "__main__":
    main()
