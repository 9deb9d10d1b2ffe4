"""The search for nearest entries: its speed beside a peer's and a matrix product, and its memory.

    python benchmarks/search.py

One thread. The product is that of all vectors and all entries, by `torch.mm` into fresh memory and
into memory that is there already: what any exact search has to compute, without finding anything.
Times are the least of some runs, by CPU time, so that ratios hold on a busy machine too. Memory is
what a process of its own needs at most beyond what it had with the table in place.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import torch
from measuring import cpu_seconds
from torch import Tensor

from audiocodec.quantization.codebook import CodebookConfig, FixedTable, nearest_entries

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
    """`vector-quantize-pytorch` with these tables ``[size, d]``: ``[N, d]`` -> codes ``[N]``.

    Of several stages, the codes of the last.
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
    """The same with this project's folded codebooks and its residual loop's arithmetic."""
    stages = []
    for table in tables:
        stage = FixedTable(CodebookConfig(kind="fixed", size=len(table), dim=table.shape[1]))
        stage.register_buffer("entries", table)
        stages.append(stage)

    def search(vectors: Tensor) -> Tensor:
        for stage in stages:
            codes = stage.nearest(vectors)
            vectors = vectors - stage.lookup(codes)
        return codes

    return search


@torch.inference_mode()
def compare(frames: int, size: int, stages: int, repeats: int) -> tuple[float, ...]:
    """Seconds of ours, of the peer and of two kinds of product; raises unless all codes agree."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(frames, DIM, generator=generator)
    tables = [torch.randn(size, DIM, generator=generator) * 0.8**n for n in range(stages)]
    mine, theirs = ours(tables), peer(tables)
    agree = (mine(vectors) == theirs(vectors)).float().mean().item()
    if agree < 0.999:  # rounding may decide between entries that are almost equally near
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
    """How many codes differ from those of distances in float64, taken one difference at a time."""
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
    """What a search adds to a process at most, in MiB (Linux)."""
    words = [sys.executable, "-c", PEAK, str(frames), str(size), str(DIM)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


@click.command()
@click.option("--frames", default=FRAMES, show_default=True, help="50 are a second of sound.")
@click.option("--repeats", default=5, show_default=True)
def main(frames: int, repeats: int) -> None:
    """Time the search for the nearest entries, and measure its memory."""
    torch.set_num_threads(1)
    print(f"{frames} vectors of {DIM} dimensions, one thread, CPU seconds\n")
    print("| tables | ours | vector-quantize-pytorch | torch.mm | torch.mm(out=) ", end="")
    print("| ours / theirs | mm / ours | mm(out=) / ours |")
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
