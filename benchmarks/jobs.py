"""Compare threads with processes for many files, and with one file at a time on all cores.

    python benchmarks/jobs.py [FOLDER] [--model speech_16khz]

Wall-clock time, without imports and without loading the model, which every process does before the
measurement. Without FOLDER, cuts of the bundled clips are encoded. Prints the figures of
docs/performance.md.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import click
import torch
from measuring import speech

from audiocodec import Codec, encode_file, find_audio, load_codec, save_audio
from audiocodec.audio import audio_info

WORKERS = os.cpu_count() or 1
_codec: Codec | None = None


def load(model: str, threads: int) -> None:
    """Load the model, in each process, before the measurement."""
    global _codec
    torch.set_num_threads(threads)
    _codec = load_codec(model)


def encode(source: Path, folder: Path) -> None:
    assert _codec is not None
    encode_file(source, folder / f"{source.stem}.tok", _codec)


def cuts(folder: Path) -> list[Path]:
    """Write forty files of 2 to 14 s."""
    audio, files = speech(16, 16_000)[0], []
    for index in range(40):
        files.append(folder / f"{index:02}.wav")
        save_audio(files[-1], audio[:, : (2 + index * 7 % 13) * 16_000], 16_000)
    return files


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="speech_16khz")
@click.option("--rounds", default=3, show_default=True)
def main(folder: Path | None, model: str, rounds: int) -> None:
    """Encode the files of FOLDER in several ways, in turns."""
    load(model, 1)
    with tempfile.TemporaryDirectory() as name:
        files = find_audio(folder) if folder else cuts(Path(name))
        seconds = sum(audio_info(file).seconds for file in files)
        one = partial(encode, folder=Path(name))
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(WORKERS, context, load, (model, 1)) as processes:
            list(processes.map(one, files))  # a first round, to load the models
            variants: dict[str, tuple[int, Callable[[Sequence[Path]], object]]] = {
                "one at a time, one thread": (1, lambda files: list(map(one, files))),
                f"one at a time, {WORKERS} threads": (WORKERS, lambda files: list(map(one, files))),
                f"{WORKERS} threads of one process (--jobs {WORKERS})": (1, in_threads(one)),
                f"{WORKERS} processes": (1, lambda files: list(processes.map(one, files))),
            }
            times: dict[str, list[float]] = {variant: [] for variant in variants}
            for _ in range(rounds):
                for variant, (threads, work) in variants.items():
                    torch.set_num_threads(threads)
                    start = time.perf_counter()
                    work(files)
                    times[variant].append(seconds / (time.perf_counter() - start))
    print(f"{len(files)} files, {seconds:.0f} s, {WORKERS} cores, {rounds} rounds in turns\n")
    print("| | encode, times real time: median | minimum | maximum |\n| --- | --- | --- | --- |")
    for variant, found in times.items():
        print(f"| {variant} | {median(found):.0f}x | {min(found):.0f}x | {max(found):.0f}x |")


def in_threads(work: Callable[[Path], None]) -> Callable[[Sequence[Path]], object]:
    def run(files: Sequence[Path]) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(work, files))

    return run


if __name__ == "__main__":
    main()
