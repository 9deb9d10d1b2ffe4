"""Measure time per layer and the cost of short chunks, and the memory of a long stream.

    python benchmarks/streams.py [--model speech_16khz] [--hours 1]

One thread, CPU time. On a busy machine the ratios are valid, but not the times. Prints the tables
of docs/performance.md and, with ``--picture``, draws the cost of short chunks.
"""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import click
import torch
from measuring import cpu_seconds, gemm_rate, pushes, speech
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from audiocodec import Codec, StreamDecoder, StreamEncoder, load_codec
from audiocodec.modules.conv import CausalConv1d, CausalConvTranspose1d

CHUNKS = (0.02, 0.04, 0.1, 0.2, 1.0, 4.0)


def operations(work: Callable[[], object]) -> float:
    """Floating-point operations of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def layers(codec: Codec, audio: Tensor, repeats: int = 5) -> dict[str, float]:
    """CPU seconds in the convolutions of each level, for one push to a stream."""
    spent: dict[str, float] = defaultdict(float)
    hooks = []
    for side in ("encoder", "decoder"):
        for name, layer in getattr(codec.engine, side).named_modules():
            if isinstance(layer, (CausalConv1d, CausalConvTranspose1d)):
                hooks += _timed(layer, f"{side}: {'.'.join(name.split('.')[:2])}", spent)
    for _ in range(repeats):
        StreamDecoder(codec).push(StreamEncoder(codec).push(audio))
    for hook in hooks:
        hook.remove()
    return {name: seconds / repeats for name, seconds in spent.items()}


def _timed(
    layer: nn.Module, name: str, spent: dict[str, float]
) -> list[torch.utils.hooks.RemovableHandle]:
    def before(*_: object) -> None:
        spent[name] -= time.process_time()

    def after(*_: object) -> None:
        spent[name] += time.process_time()

    return [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]


def resident() -> float:
    """Resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def long_stream(codec: Codec, hours: float) -> list[float]:
    """MB in use at the start of a live stream in chunks of 1 s, and at twelve later times."""
    encoder, decoder = StreamEncoder(codec), StreamDecoder(codec)
    minute = speech(60, codec.sample_rate).split(codec.sample_rate, dim=-1)
    measured, total = [resident()], round(3600 * hours)
    for second in range(1, total + 1):
        decoder.push(encoder.push(minute[second % 60]))
        if second % max(1, total // 12) == 0:
            measured.append(resident())
    return measured


def draw(costs: dict[float, float], path: Path) -> None:
    """Draw the speed, relative to real time, against the length of the chunks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    axes.loglog([1000 * s for s in costs], [1 / c for c in costs.values()], "o-")
    axes.set(xlabel="chunk, ms", ylabel="encode + decode, times real time")
    axes.set_title("One thread: the cost of short chunks", fontsize=10)
    axes.grid(which="both", alpha=0.3)
    figure.savefig(path, dpi=110)


@click.command()
@click.option("--model", default="speech_16khz")
@click.option("--hours", default=1.0, help="Length of the live stream; 0 leaves it out.")
@click.option("--picture", type=click.Path(path_type=Path))
def main(model: str, hours: float, picture: Path | None) -> None:
    """Measure a model."""
    torch.set_num_threads(1)
    codec = load_codec(model)
    with torch.inference_mode():
        if hours:
            measured = long_stream(codec, hours)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{hours:g} h live, chunks of 1 s, MB resident: "
                + " ".join(f"{x:.0f}" for x in measured)
            )
            print(f"peak {peak:.0f} MB\n", flush=True)

        audio = speech(4, codec.sample_rate)
        codes = codec.encode(audio)
        rate = gemm_rate()
        both = lambda: StreamDecoder(codec).push(StreamEncoder(codec).push(audio))  # noqa: E731
        count, seconds = operations(both), cpu_seconds(both)
        print(f"matrix product {rate / 1e9:.0f} GFLOP/s; {codes.shape[-1]} frames:")
        print(
            f"{count / 4e9:.2f} GFLOP per second of audio for encode and decode, "
            f"{4 / seconds:.0f}x real time,"
        )
        print(f"{count / seconds / 1e9:.0f} GFLOP/s, {count / seconds / rate:.0%} of the product\n")

        print(
            "| convolutions of | CPU ms for 4 s | share | CPU ms for 20 ms |\n"
            "| --- | --- | --- | --- |"
        )
        frame = audio[..., : codec.hop_length]
        long, short = layers(codec, audio), layers(codec, frame, 50)
        for name, spent in long.items():
            print(
                f"| {name} | {1000 * spent:.1f} | {spent / seconds:.0%} | "
                f"{1000 * short[name]:.3f} |"
            )
        rest = seconds - sum(long.values())
        print(f"| quantiser, activations, checks | {1000 * rest:.1f} | {rest / seconds:.0%} | |\n")

        print("| chunk | encode ms | decode ms | 99 % of both within | cost per second | of 4 s |")
        print("| --- | --- | --- | --- | --- | --- |")
        costs = {}
        for chunk in reversed(CHUNKS):
            audio = speech(16 if chunk >= 1 else 300 * chunk, codec.sample_rate)
            pushes(codec, audio[..., : 2 * codec.sample_rate], chunk)
            times, _ = pushes(codec, audio, chunk)
            encode, decode = (sum(side) / len(times) for side in zip(*times, strict=True))
            worst = sorted(map(sum, times))[int(0.99 * (len(times) - 1))]
            costs[chunk] = (encode + decode) / chunk
            print(
                f"| {1000 * chunk:g} ms | {1000 * encode:.2f} | {1000 * decode:.2f} | "
                f"{1000 * worst:.2f} | {1000 * costs[chunk]:.1f} ms | "
                f"{costs[chunk] / costs[4.0]:.2f} |",
                flush=True,
            )
    if picture:
        draw(costs, picture)


if __name__ == "__main__":
    main()
