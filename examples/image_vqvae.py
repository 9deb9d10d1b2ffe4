"""SimVQ, VQ and EMA-VQ in a small VQ-VAE of images: which entries are in use, and what is left.

python examples/image_vqvae.py                                   # some minutes on one core
python examples/image_vqvae.py --size 256 --steps 300 --seeds 1  # some seconds

The images are the 1,797 handwritten digits of 8 x 8 pixels that ship in scikit-learn (Alpaydin and
Kaynak 1998), so nothing is downloaded: pip install 'audiocodec' scikit-learn. The last 297 are held
out. Each image is 4 x 4 vectors of 16 dimensions, one code each. `random` has random entries, as
the articles have; `data` fits them to the first batches, the layers' default.
"""

import argparse
import time
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.quantization import EMAVQ, VQ, SimVQ

DIM = 16
QUANTIZERS: dict[str, Callable[..., nn.Module]] = {
    "VQ, random": lambda size, **_: VQ(DIM, size, channel_first=True, initialisation="random"),
    "EMA-VQ, random": lambda size, **_: EMAVQ(
        DIM, size, channel_first=True, initialisation="random", reset_threshold=0
    ),
    "SimVQ, random": lambda size, **_: SimVQ(
        DIM, size, channel_first=True, initialisation="random"
    ),
    "VQ, data": lambda size, **start: VQ(DIM, size, channel_first=True, **start),
    "EMA-VQ, data": lambda size, **start: EMAVQ(DIM, size, channel_first=True, **start),
    "SimVQ, data": lambda size, **start: SimVQ(DIM, size, channel_first=True, **start),
}


class VQVAE(nn.Module):
    """Images ``[B, 1, 8, 8]`` -> latents ``[B, 16, 4, 4]`` -> images."""

    def __init__(self, quantizer: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, DIM, 3, padding=1),
        )
        self.quantizer = quantizer
        self.decoder = nn.Sequential(
            nn.Conv2d(DIM, 64, 3, padding=1),
            nn.SiLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quantized, indices, loss = self.quantizer(self.encoder(images))
        return self.decoder(quantized), indices, loss


def digits() -> tuple[Tensor, Tensor]:
    """1,500 images to train on and 297 held out, ``[N, 1, 8, 8]`` in 0 ... 1."""
    images = torch.from_numpy(load_digits().images).float().unsqueeze(1) / 16
    return images[:1500], images[1500:]


def train(name: str, size: int, seed: int, steps: int, **start: object) -> dict[str, float]:
    """Train one model; what became of it. ``start``: of the quantisers fitted to data."""
    torch.manual_seed(seed)
    images, held_out = digits()
    model = VQVAE(QUANTIZERS[name](size, **start))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    curve = []
    start = time.perf_counter()
    for _ in range(steps):
        batch = images[torch.randint(len(images), (64,))]
        reconstruction, _, loss = model(batch)
        error = F.mse_loss(reconstruction, batch)
        optimizer.zero_grad()
        (error + loss).backward()
        optimizer.step()
        curve.append(error.item())
    seconds = time.perf_counter() - start
    model.eval()
    with torch.no_grad():
        counts = torch.bincount(model(images)[1].flatten(), minlength=size)
        reconstruction, _, loss = model(held_out)
    share = counts / counts.sum()
    return {
        "usage": (counts > 0).float().mean().item(),
        "perplexity": torch.special.entr(share).sum().exp().item(),
        "error": F.mse_loss(reconstruction, held_out).item(),
        "loss": loss.item(),
        "curve": sum(curve[steps // 10 - 10 : steps // 10]) / 10,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[256, 1024, 4096], help="entries")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--start-steps", type=int, nargs="+", default=[1, 50, 200])
    options = parser.parse_args()
    start = {"start_steps": options.start_steps}
    columns = "size", "quantiser", "usage", "perplexity", "error after a tenth", "held-out error"
    print("|", " | ".join([*columns, "loss", "s"]), "|")
    print("| -- " * 8 + "|")
    for size in options.size:
        for name in QUANTIZERS:
            runs = [
                train(name, size, seed, options.steps, **start) for seed in range(options.seeds)
            ]
            mean = {key: sum(run[key] for run in runs) / len(runs) for key in runs[0]}
            errors = [run["error"] for run in runs]
            print(
                f"| {size} | {name} | {mean['usage']:.1%} | {mean['perplexity']:.0f} "
                f"| {mean['curve']:.4f} "
                f"| {mean['error']:.5f} ± {(max(errors) - min(errors)) / 2:.5f} "
                f"| {mean['loss']:.4f} | {mean['seconds']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
