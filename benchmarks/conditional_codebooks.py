"""What codebooks whose entries depend on the stages before would gain (QINCo).

    python benchmarks/conditional_codebooks.py TRAIN/part0 VALIDATION

Huijben et al. 2024, arXiv 2401.14732: entry k of a stage is ``c_k + MLP([c_k, x])``, where ``x`` is
the sum of what the stages before chose. Here the latents of the bundled encoder are coded by its
first three stages; then the entries of stages two and three learn on, without and with such
networks, for equally many steps on equal frames. Prints, for validation speech, what each leaves of
the latents' energy after each stage, in dB, and what decoding or encoding costs.

The encoder finds the 16 entries that are nearest without the network, and takes the best of them
with it, as the paper's successor does (QINCo2, Vallaeys et al. 2025, arXiv 2501.03078). The last
row tries all of them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from audiocodec import CodecError
from audiocodec.checkpoint import load_trainable

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
from latents import latents_of

STAGES = 3
SHORTLIST = 16
BATCH = 1024
EVALUATED = 4000


class Coder(nn.Module):
    """Residual stages ``[K, D]`` in the latents' own space, conditional if ``hidden`` is not 0."""

    def __init__(self, entries: list[Tensor], hidden: int) -> None:
        super().__init__()
        self.entries = nn.ParameterList(entry.clone() for entry in entries)
        dim = entries[0].shape[1]
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
            for _ in entries
            if hidden
        )
        for network in self.networks:
            nn.init.zeros_(network[2].weight)  # silent at first
            nn.init.zeros_(network[2].bias)

    def forward(self, latents: Tensor, shortlist: int = SHORTLIST) -> list[Tensor]:
        """The residual ``[N, D]`` after each stage."""
        chosen, residuals = torch.zeros_like(latents), []
        for stage, entries in enumerate(self.entries):
            residual = latents - chosen
            near = (
                torch.cdist(residual, entries)
                .topk(min(shortlist, len(entries)), largest=False)
                .indices
            )
            if self.networks and stage:
                with torch.no_grad():
                    adapted = self._adapted(stage, entries[near], chosen)
                    best = (residual.unsqueeze(1) - adapted).square().sum(dim=2).argmin(dim=1)
                code = near.gather(1, best.unsqueeze(1))
                chosen = chosen + self._adapted(stage, entries[code], chosen).squeeze(1)
            else:
                chosen = chosen + entries[near[:, 0]]
            residuals.append(latents - chosen)
        return residuals

    def _adapted(self, stage: int, entries: Tensor, chosen: Tensor) -> Tensor:
        """Entries ``[N, K, D]`` for frames whose stages before chose ``[N, D]``."""
        context = chosen.unsqueeze(1).expand_as(entries)
        return entries + self.networks[stage](torch.cat([entries, context], dim=2))


def train(coder: Coder, latents: Tensor, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(coder.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    energy = latents.square().mean()
    for _ in range(steps):
        rows = torch.randint(len(latents), (BATCH,), generator=generator)
        residuals = coder(latents[rows])
        loss = sum(residual.square().mean() for residual in residuals) / energy
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def left(coder: Coder, latents: Tensor, shortlist: int = SHORTLIST) -> list[float]:
    """Energy after each stage, in dB of the latents'."""
    sums = torch.zeros(len(coder.entries), dtype=torch.float64)
    for rows in latents.split(256):
        sums += torch.stack([r.double().square().sum() for r in coder(rows, shortlist)])
    energies: list[float] = (10 * torch.log10(sums / latents.double().square().sum())).tolist()
    return energies


@click.command()
@click.argument("training", type=click.Path(exists=True, path_type=Path))
@click.argument("validation", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("--frames", default=100_000, show_default=True, help="Of training speech.")
@click.option("--steps", default=1500, show_default=True)
@click.option("--hidden", default=256, show_default=True, help="Values of a network.")
@click.option("--seed", default=0, show_default=True)
def main(
    training: Path, validation: Path, model: str, frames: int, steps: int, hidden: int, seed: int
) -> None:
    torch.set_num_threads(1)
    codec = load_trainable(model).eval()
    center = codec.quantizer.center[:, 0]
    learnt = latents_of(codec, training, frames) - center
    tested = (latents_of(codec, validation, EVALUATED) - center)[:EVALUATED]
    numbers = torch.arange(codec.codebook_sizes[0])
    with torch.no_grad():
        entries = [stage.decode(numbers.unsqueeze(0))[0].T for stage in codec.quantizer.stages]
    dim = codec.quantizer.latent_dim
    network = 2 * dim * hidden + hidden * dim
    click.echo("\n| entries | left after 1, 2, 3 stages, dB | MMAC/s to encode a stage | CPU s |")
    click.echo("| -- | -- | -- | -- |")
    torch.manual_seed(seed)
    rows = {"bundled": (0, 0), "learnt on": (0, steps), "conditional": (hidden, steps)}
    for name, (size, count) in rows.items():
        coder = Coder(entries[:STAGES], size)
        began = time.process_time()
        train(coder, learnt, count, seed)
        cost = codec.frame_rate * network * SHORTLIST / 1e6 if size else 0
        show(name, left(coder, tested), cost, time.process_time() - began)
    everything = codec.frame_rate * network * len(numbers) / 1e6
    show("conditional, all tried", left(coder, tested, len(numbers)), everything, 0)


def show(name: str, energies: list[float], cost: float, seconds: float) -> None:
    figures = ", ".join(f"{energy:.2f}" for energy in energies)
    click.echo(f"| {name} | {figures} | {cost:.0f} | {seconds:.0f} |")


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
