"""Compare PyTorch with ONNX Runtime (`--engine onnx`) on a file and on chunks of a live stream.

    python benchmarks/engines.py [--model speech_16khz]

One thread, CPU time, both engines in turns, the median over the turns. Prints the table of
docs/performance.md and the share of codes that are equal.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

import click
import torch
from measuring import pushes, speech
from torch import Tensor

from audiocodec import Codec, decode_file, encode_file, load_codec, save_audio

CHUNKS = {0.02: 4, 0.1: 8, 1.0: 16, 4.0: 16}
"""Seconds of a chunk -> seconds of audio to push in such chunks."""


def spent(work: Callable[..., object], *arguments: object) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def files(codec: Codec, source: Path) -> tuple[float, float]:
    """CPU seconds to encode a file and to decode it, as the command does."""
    tokens, target = source.with_suffix(".tok"), source.with_suffix(".out.wav")
    return spent(encode_file, source, tokens, codec), spent(decode_file, tokens, target, codec)


@click.command()
@click.option("--model", default="speech_16khz")
@click.option("--turns", default=9)
def main(model: str, turns: int) -> None:
    """Compare the two engines."""
    torch.set_num_threads(1)
    engines = {"torch": load_codec(model), "onnx": load_codec(model, engine="onnx")}
    rate = engines["torch"].sample_rate
    audio = speech(60, rate)
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    codes: dict[tuple[str, float], Tensor] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in.wav")
        save_audio(source, audio[0], rate)
        for turn in range(turns + 1):
            for engine, codec in engines.items():
                found = {"60 s file": files(codec, source)}
                for seconds, length in CHUNKS.items():
                    part = audio[..., : length * rate]
                    chunks, codes[engine, seconds] = pushes(codec, part, seconds)
                    encode, decode = (fmean(side) for side in zip(*chunks, strict=True))
                    found[f"{1000 * seconds:.0f} ms"] = encode, decode
                for name, sides in found.items():
                    if turn:  # the first one warms up
                        for side, value in zip(("encode", "decode"), sides, strict=True):
                            times[f"{name}, {side}", engine].append(value)
    print("| | PyTorch ms | ONNX Runtime ms | times faster |\n| --- | --- | --- | --- |")
    for name in dict.fromkeys(name for name, _ in times):
        pytorch, onnx = (1000 * median(times[name, engine]) for engine in engines)
        print(f"| {name} | {pytorch:.2f} | {onnx:.2f} | {pytorch / onnx:.2f} |")
    for seconds in CHUNKS:
        equal = (codes["torch", seconds] == codes["onnx", seconds]).double().mean()
        print(f"{seconds} s: {equal:.3%} of the codes are equal")


if __name__ == "__main__":
    main()
