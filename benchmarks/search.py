"""Measure the search for nearest entries: its speed and its memory.

    python benchmarks/search.py

Speed is compared with `vector-quantize-pytorch` and with the matrix product of all vectors and all
entries, which any exact search has to compute, by `torch.mm` into new and into existing memory. One
thread, CPU time, the fastest of some runs, so the ratios hold on a busy machine too. Memory is the
peak of a separate process, less what it had with vectors and table in place.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import torch
from measuring import cpu_seconds
from torch import Tensor
from torch.nn import functional as F

from audiocodec.quantization.codebook import nearest_entries

FRAMES = 3000
DIM = 12
PEAK = """
import sys, torch
from audiocodec.quantization.codebook import nearest_entries

def peak(field="VmHWM"):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024

torch.set_num_threads(1)
frames, size, dim = map(int, sys.argv[1:])
nearest_entries(torch.randn(100, dim), torch.randn(1000, dim))
vectors, table = torch.randn(frames, dim), torch.randn(size, dim)
before = peak("VmRSS")
nearest_entries(vectors, table)
print(peak() - before)
"""


def peer(tables: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """The search of `vector-quantize-pytorch`: ``[N, d]`` -> codes ``[N]`` of the last stage.

    Args:
        tables: of the stages, ``[size, d]`` each.
    """
    from vector_quantize_pytorch import ResidualVQ, VectorQuantize

    size, dim = tables[0].shape
    if len(tables) == 1:
        module = VectorQuantize(dim=dim, codebook_size=size).eval()
        layers = [module]
    else:
        module = ResidualVQ(dim=dim, codebook_size=size, num_quantizers=len(tables)).eval()
        layers = list(module.layers)
    for layer, table in zip(layers, tables, strict=True):
        layer._codebook.embed.data.copy_(table.unsqueeze(0))
    return lambda vectors: module(vectors.unsqueeze(0))[1][0].reshape(len(vectors), -1)[:, -1]


def ours(tables: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """The same search with this project's `nearest_entries`."""

    def search(vectors: Tensor) -> Tensor:
        for table in tables:
            codes = nearest_entries(vectors, table)
            vectors = vectors - F.embedding(codes, table)
        return codes

    return search


@torch.inference_mode()
def compare(frames: int, size: int, stages: int, repeats: int) -> tuple[float, ...]:
    """Seconds of both searches and of both matrix products.

    Raises:
        SystemExit: more than one code in a thousand differs.
    """
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(frames, DIM, generator=generator)
    tables = [torch.randn(size, DIM, generator=generator) * 0.8**n for n in range(stages)]
    mine, theirs = ours(tables), peer(tables)
    agree = (mine(vectors) == theirs(vectors)).float().mean().item()
    if agree < 0.999:  # rounding decides between entries at almost equal distances
        raise SystemExit(f"{stages} x {size}: only {agree:.2%} of the codes agree with the peer's")
    product = torch.empty(frames, size)

    def products(out: Tensor | None) -> None:
        for table in tables:
            torch.mm(vectors, table.T, out=out)

    return (
        cpu_seconds(lambda: mine(vectors), repeats),
        cpu_seconds(lambda: theirs(vectors), repeats),
        cpu_seconds(lambda: products(None), repeats),
        cpu_seconds(lambda: products(product), repeats),
    )


@torch.inference_mode()
def misses(frames: int, size: int) -> int:
    """How many codes differ from those of a brute-force search in float64."""
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(frames, DIM, generator=generator)
    table = torch.randn(size, DIM, generator=generator)
    exact = torch.cat(
        [
            (vector.double() - table.double()).square().sum(dim=1).argmin().unsqueeze(0)
            for vector in vectors
        ]
    )
    return int((nearest_entries(vectors, table) != exact).sum())


def peak_megabytes(frames: int, size: int) -> float:
    """The peak memory of a search, in MiB (Linux)."""
    words = [sys.executable, "-c", PEAK, str(frames), str(size), str(DIM)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


@click.command()
@click.option("--frames", default=FRAMES, show_default=True, help="50 are a second of audio.")
@click.option("--repeats", default=5, show_default=True)
def main(frames: int, repeats: int) -> None:
    """Time the search for the nearest entries, and measure its memory."""
    torch.set_num_threads(1)
    print(f"{frames} vectors of {DIM} dimensions, one thread, CPU seconds\n")
    print("| tables | audiocodec | vector-quantize-pytorch | torch.mm | torch.mm(out=) ", end="")
    print("| first / second | mm / first | mm(out=) / first |")
    print("| --- " * 8 + "|")
    for size, stages in ((65_536, 1), (1024, 12)):
        mine, theirs, fresh, reused = compare(frames, size, stages, repeats)
        print(
            f"| {stages} x {size} | {mine:.4f} | {theirs:.4f} | {fresh:.4f} | {reused:.4f} "
            f"| {mine / theirs:.2f} | {fresh / mine:.2f} | {reused / mine:.2f} |",
            flush=True,
        )
    print(f"\n{misses(300, 65_536)} of 300 codes of 65,536 differ from float64 brute force")
    size = 262_144
    print(f"{size} entries: {peak_megabytes(frames, size):.0f} MiB beyond table and vectors")


if __name__ == "__main__":
    main()
