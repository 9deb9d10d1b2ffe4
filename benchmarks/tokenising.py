"""`codec tokenize` on one and on two cores, beside `codec encode` of the same files, in turns.

    python benchmarks/tokenising.py TRAIN/part0 --files 200
    python benchmarks/tokenising.py VALIDATION --files 30 --turns 5      on a busy machine

First the work alone, in this process: wall-clock seconds, and ratios of the medians. Then each as a
command from a cold start: wall-clock and CPU seconds, and the peak of the resident memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import click
import torch

from audiocodec import encode_file, find_audio, load_codec
from audiocodec.audio import audio_info
from audiocodec.corpus.opening import open_corpus
from audiocodec.runtime import RuntimeCodec
from audiocodec.threads import Stop, on_threads
from audiocodec.tokenising.run import tokenize
from audiocodec.tokenising.settings import Settings


def tokenize_seconds(codec: RuntimeCodec, listed: Path, out: Path, workers: int) -> float:
    corpus = open_corpus(listed)
    started = time.perf_counter()
    tokenize(corpus, Settings.of(codec, corpus), codec, out, workers=workers)
    return time.perf_counter() - started


def encode_seconds(codec: RuntimeCodec, paths: Sequence[Path], out: Path, workers: int) -> float:
    out.mkdir()

    def encode(path: Path) -> None:
        encode_file(path, out / f"{path.stem}.tok", codec, coding="fixed")

    started = time.perf_counter()
    on_threads(encode, paths, workers, Stop(), lambda _: None)
    return time.perf_counter() - started


def command(arguments: list[str]) -> tuple[float, float, float]:
    """Wall-clock and CPU seconds, and the peak memory in MB, of `codec`."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "audiocodec_cli", "-q", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise click.ClickException(f"codec {' '.join(arguments)} failed")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--files", default=200, show_default=True, help="How many, the first ones.")
@click.option("--turns", default=3, show_default=True)
@click.option("--commands/--no-commands", default=True, help="Also as commands.")
def main(folder: Path, files: int, turns: int, commands: bool) -> None:
    torch.set_num_threads(1)
    paths = [path.resolve() for path in find_audio(folder)[:files]]
    hours = sum(audio_info(path).seconds for path in paths) / 3600
    print(f"{len(paths)} files, {60 * hours:.1f} min of audio", flush=True)
    codec = load_codec("speech_16khz")
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch, "files.txt")
        listed.write_text("".join(f"{path}\n" for path in paths))
        for turn in range(turns):
            for workers in (1, 2):
                out = Path(scratch, f"{turn}-{workers}")
                tokenized = tokenize_seconds(codec, listed, out, workers)
                encoded = encode_seconds(codec, paths, out.with_suffix(".tok"), workers)
                found.setdefault(("tokenize", workers), []).append(tokenized)
                found.setdefault(("encode", workers), []).append(encoded)
                print(f"{workers} cores: tokenize {tokenized:.1f} s, encode {encoded:.1f} s")
        middle = {key: median(seconds) for key, seconds in found.items()}
        one, two = middle["tokenize", 1], middle["tokenize", 2]
        print(f"tokenize, two cores against one: {one / two:.2f}x")
        print(f"tokenize against encode, one core: {middle['encode', 1] / one:.2f}x", end="")
        print(f", two cores: {middle['encode', 2] / two:.2f}x", flush=True)
        for workers in (1, 2) if commands else ():
            out, jobs = f"{scratch}/{workers}", ["--jobs", str(workers)]
            first = command(["tokenize", str(listed), out, *jobs])
            second = command(["encode", "--files-from", str(listed), f"{out}.tok", *jobs])
            for name, (wall, cpu, peak) in (("tokenize", first), ("encode", second)):
                print(
                    f"codec {name} {' '.join(jobs)}: {wall:.0f} s, CPU {cpu:.0f} s, {peak:.0f} MB"
                )


if __name__ == "__main__":
    main()
