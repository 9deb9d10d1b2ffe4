"""PyTorch beside ONNX Runtime (`--engine onnx`): files, and pieces as a live stream has them.

    python benchmarks/engines.py [--model speech_16khz]

One thread, CPU time, the two in turns, the median of the turns. Prints the table of
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
from audiocodec.onnx.engine import use_onnx

PIECES = {0.02: 4, 0.1: 8, 1.0: 16, 4.0: 16}
"""Seconds of a piece: seconds of audio that are pushed in such pieces."""


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
    torch.set_num_threads(1)
    engines = {"torch": load_codec(model), "onnx": use_onnx(load_codec(model), print)}
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
                for seconds, length in PIECES.items():
                    part = audio[..., : length * rate]
                    pieces, codes[engine, seconds] = pushes(codec, part, seconds)
                    encode, decode = (fmean(side) for side in zip(*pieces, strict=True))
                    found[f"{1000 * seconds:.0f} ms"] = encode, decode
                for name, sides in found.items():
                    if turn:  # the first one warms up
                        for side, value in zip(("encode", "decode"), sides, strict=True):
                            times[f"{name}, {side}", engine].append(value)
    print("| | PyTorch ms | ONNX Runtime ms | times faster |\n| --- | --- | --- | --- |")
    for name in dict.fromkeys(name for name, _ in times):
        ours, other = (1000 * median(times[name, engine]) for engine in engines)
        print(f"| {name} | {ours:.2f} | {other:.2f} | {ours / other:.2f} |")
    for seconds in PIECES:
        equal = (codes["torch", seconds] == codes["onnx", seconds]).double().mean()
        print(f"{seconds} s: {equal:.3%} of the codes are equal")


if __name__ == "__main__":
    main()
