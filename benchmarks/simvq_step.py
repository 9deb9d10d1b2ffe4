"""Draw how one step of SGD moves the entries of SimVQ and of plain VQ, beside the theory.

    python benchmarks/simvq_step.py [--picture docs/simvq_step.png]

Su (kexue.fm/archives/10519): with SGD at rate `lr` on `W` alone, entry i of the table `C W` moves
by `-lr c_i sum_j c_j^T dL/de_j`, chosen or not. A plain table's entry moves by `-lr dL/de_i`, which
is zero unless it was chosen.
"""

from __future__ import annotations

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
RATE = 0.1


class Step(NamedTuple):
    """Changes of the entries, predicted and measured, ``[size, d]``; and the chosen entries."""

    predicted: Tensor
    measured: Tensor
    chosen: Tensor


def step(codebook: SimVQCodebook | VQCodebook, vectors: Tensor) -> Step:
    """One step of SGD on the codebook's loss for ``vectors [N, d]``."""
    codes = codebook.nearest(vectors)
    entries = codebook.lookup(codes)
    entries.retain_grad()
    codebook.loss(vectors, entries).backward()
    before = codebook.table().detach().clone()
    gradient = entries.grad
    assert gradient is not None
    if isinstance(codebook, SimVQCodebook):
        learned = codebook.transform  # the equation's case: `W` alone, without the bias
        predicted = -RATE * codebook.frozen @ (codebook.frozen[codes].T @ gradient)
    else:
        learned = codebook.entries
        predicted = torch.zeros_like(before).index_add_(0, codes, -RATE * gradient)
    torch.optim.SGD([learned], RATE).step()
    chosen = torch.zeros(len(before), dtype=torch.bool)
    chosen[codes] = True
    return Step(predicted.detach(), codebook.table().detach() - before, chosen)


def steps(size: int = 1024, dim: int = 12, count: int = 48) -> dict[str, Step]:
    """One step of each kind, from equal tables and for the same Gaussian vectors."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    vectors = torch.randn(count, dim, dtype=torch.float64, generator=generator)
    simvq = SimVQCodebook(SimVQConfig(size=size, dim=dim, initialisation="random")).double()
    plain = VQCodebook(VQConfig(size=size, dim=dim)).double()
    plain.entries.data.copy_(simvq.table().detach())
    return {"VQ": step(plain, vectors), "SimVQ, C frozen": step(simvq, vectors)}


def draw(results: dict[str, Step], path: Path) -> None:
    """Draw the measured against the predicted change of every coordinate, a panel per kind."""
    figure = Figure(figsize=(10, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(results))
    for panel, (title, result) in zip(panels, results.items(), strict=True):
        still = (result.measured[~result.chosen] == 0).all()
        for chosen, label, color in (
            (False, "not chosen", "tab:blue"),
            (True, "chosen", "tab:red"),
        ):
            rows = result.chosen == chosen
            panel.scatter(
                result.predicted[rows].flatten(),
                result.measured[rows].flatten(),
                s=16 if chosen else 4,
                color=color,
                label=f"{label}: {int(rows.sum())} entries",
                alpha=0.6,
                linewidths=0,
                zorder=3 - chosen,
            )
        limit = result.predicted.abs().max().item()
        panel.plot([-limit, limit], [-limit, limit], color="0.7", linewidth=1, zorder=1)
        panel.set_title(f"{title}: {'the rest stay' if still else 'all entries move'}", fontsize=10)
        panel.set_xlabel("predicted change")
        panel.set_ylabel("change after a step of SGD")
        panel.ticklabel_format(scilimits=(-2, 2))
        panel.legend(fontsize=8)
    figure.savefig(path)


@click.command()
@click.option(
    "--picture",
    default=ROOT / "docs" / "simvq_step.png",
    type=click.Path(path_type=Path),
    help="File to write.  [default: docs/simvq_step.png]",
)
def main(picture: Path) -> None:
    """Draw how one step changes every entry of a table."""
    results = steps()
    for title, (predicted, measured, chosen) in results.items():
        moved = (measured != 0).any(dim=1)
        error = ((measured - predicted).abs().max() / predicted.abs().max()).item()
        print(
            f"{title}: {int(chosen.sum())} of {len(chosen)} entries chosen, {int(moved.sum())} "
            f"moved; prediction and step differ by {error:.0e} of the largest change"
        )
    draw(results, picture)


if __name__ == "__main__":
    main()
