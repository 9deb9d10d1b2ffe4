"""Does SimVQ's shared linear map keep the experts of a small mixture alive?

python benchmarks/moe_shared_map.py

A codebook and a mixture of experts share their trouble: what is not chosen gets no gradient. SimVQ
writes its entries as `C W`, and the gradient of the shared `W` moves all of them. Here the same is
done to the 64 experts of a switch layer (Fedus et al. 2021, arXiv 2101.03961), which sends each
image to the one expert whose router vector fits best, `x + p_e(x) A_e x`. The images are the
handwritten digits that ship in scikit-learn, 1,500 to train on and 297 held out.

- `plain`: router vectors and experts are learned one by one.
- `router`: the router vectors are `C W`, `C` frozen.
- `router, both`: the same, `C` learned too.
- `experts`: the experts are `A_e W`, `A_e` frozen.
- `experts, both`: the same, `A_e` learned too.
- `router and experts, both`: all of that.
- `balancing loss`: plain, with the loss of the article that evens out their use (0.01).
"""

from __future__ import annotations

import time

import click
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

DIM, EXPERTS = 32, 64
VARIANTS = {
    "plain": {},
    "router": {"router": "frozen"},
    "router, both": {"router": "learned"},
    "experts": {"experts": "frozen"},
    "experts, both": {"experts": "learned"},
    "router and experts, both": {"router": "learned", "experts": "learned"},
    "balancing loss": {"balance": 0.01},
}


class Switch(nn.Module):
    """Vectors ``[B, d]`` -> ``[B, d]``, the expert of each ``[B]``, and the balancing loss."""

    def __init__(self, router: str = "", experts: str = "") -> None:
        super().__init__()
        self.router = nn.Parameter(torch.randn(EXPERTS, DIM) * DIM**-0.5, router != "frozen")
        self.experts = nn.Parameter(torch.randn(EXPERTS, DIM, DIM) * DIM**-0.5, experts != "frozen")
        self.router_map = nn.Parameter(torch.eye(DIM), bool(router))
        self.expert_map = nn.Parameter(torch.eye(DIM), bool(experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shares = (x @ (self.router @ self.router_map).T).softmax(dim=-1)
        share, chosen = shares.max(dim=-1)
        hidden = torch.bmm(x.unsqueeze(1), self.experts[chosen]).squeeze(1) @ self.expert_map
        used = F.one_hot(chosen, EXPERTS).float().mean(dim=0)
        balance = EXPERTS * (used * shares.mean(dim=0)).sum()
        return x + share.unsqueeze(1) * F.silu(hidden), chosen, balance


class Classifier(nn.Module):
    """Images ``[B, 64]`` -> logits ``[B, 10]``, and what the switch layer says."""

    def __init__(self, **switch: str) -> None:
        super().__init__()
        self.first = nn.Linear(64, DIM)
        self.switch = Switch(**switch)
        self.last = nn.Linear(DIM, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, chosen, balance = self.switch(F.silu(self.first(images)))
        return self.last(x), chosen, balance


def train(seed: int, steps: int, balance: float = 0.0, **switch: str) -> dict[str, float]:
    """Train one classifier; what became of it and of its experts."""
    torch.manual_seed(seed)
    digits = load_digits()
    images, labels = torch.from_numpy(digits.data).float() / 16, torch.from_numpy(digits.target)
    model = Classifier(**switch)
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, 1e-3)
    for _ in range(steps):
        batch = torch.randint(1500, (128,))
        logits, _, unevenness = model(images[batch])
        loss = F.cross_entropy(logits, labels[batch]) + balance * unevenness
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        counts = torch.bincount(model(images[:1500])[1], minlength=EXPERTS)
        logits, _, _ = model(images[1500:])
    share = counts / counts.sum()
    return {
        "used": (counts > 0).float().mean().item(),
        "perplexity": torch.special.entr(share).sum().exp().item(),
        "loss": F.cross_entropy(logits, labels[1500:]).item(),
        "accuracy": (logits.argmax(dim=1) == labels[1500:]).float().mean().item(),
    }


@click.command(help=__doc__.splitlines()[0])
@click.option("--steps", default=1000, show_default=True)
@click.option("--seeds", default=5, show_default=True)
def main(steps: int, seeds: int) -> None:
    click.echo("| variant | experts in use | perplexity | held-out loss | accuracy | s |")
    click.echo("| -- " * 6 + "|")
    for name, settings in VARIANTS.items():
        start = time.perf_counter()
        runs = [train(seed, steps, **settings) for seed in range(seeds)]
        seconds = (time.perf_counter() - start) / seeds
        mean = {key: sum(run[key] for run in runs) / seeds for key in runs[0]}
        half = {key: (max(r[key] for r in runs) - min(r[key] for r in runs)) / 2 for key in mean}
        click.echo(
            f"| {name} | {mean['used']:.0%} ± {half['used']:.0%} "
            f"| {mean['perplexity']:.1f} ± {half['perplexity']:.1f} "
            f"| {mean['loss']:.3f} ± {half['loss']:.3f} "
            f"| {mean['accuracy']:.1%} ± {half['accuracy']:.1%} | {seconds:.0f} |"
        )


if __name__ == "__main__":
    main()
