"""Measure speed and memory of encode and decode, and cold starts of the command.

    python benchmarks/speed.py [--model speech_16khz] [--hours 2]

Prints the tables of README.md. Run it on an idle machine: on a busy one only the CPU times with one
thread are valid.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import soundfile
import torch
from measuring import in_blocks, out_blocks, speech

from audiocodec import Codec, load_codec

LONG_FILE = """
import resource, sys, time
from audiocodec import decode_file, encode_file, load_codec
import torch
torch.set_num_threads(int(sys.argv[1]))
codec = load_codec(sys.argv[2])
encoded = encode_file(sys.argv[3], sys.argv[4], codec)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
decoded = decode_file(sys.argv[4], sys.argv[5], codec)
both = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(encoded.seconds, encoded.elapsed, after, decoded.elapsed, both)
"""


def factors(repeats: int, seconds: float, work: Callable[[], object]) -> str:
    """Times faster than real time, wall-clock and CPU, of the fastest of ``repeats`` runs."""
    runs = []
    for _ in range(repeats):
        clock, cpu = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - clock, time.process_time() - cpu))
    return " | ".join(f"{seconds / min(times):.0f}x" for times in zip(*runs, strict=True))


def steady(codec: Codec) -> None:
    """Print the speed of encode and decode after a warm-up."""
    print("| 60 s of speech | threads | encode | by CPU time | decode | by CPU time |")
    print("| --- | --- | --- | --- | --- | --- |")
    audio = speech(60, codec.sample_rate)
    codes = codec.encode(audio)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for title, encode, decode in (
            ("blocks of 4 s", lambda: in_blocks(codec, audio), lambda: out_blocks(codec, codes)),
            ("at once", lambda: codec.encode(audio), lambda: codec.decode(codes)),
        ):
            cells = " | ".join(factors(3, 60, work) for work in (encode, decode))
            print(f"| {title} | {threads} | {cells} |", flush=True)


def long_file(model: str, sample_rate: int, hours: float, folder: Path) -> None:
    """Print speed and peak memory for a long file, in a process of its own."""
    source = folder / "long.wav"
    minute = speech(60, sample_rate)[0, 0].numpy()
    with soundfile.SoundFile(source, "w", sample_rate, 1, "PCM_16") as file:
        for _ in range(round(60 * hours)):
            file.write(minute)
    places = [str(source), str(folder / "long.tok"), str(folder / "back.wav")]
    done = subprocess.run(
        [sys.executable, "-c", LONG_FILE, "1", model, *places],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, encode, after, decode, both = map(float, done.stdout.split())
    print(
        f"\n{hours:g} h file, one thread, files read and written: encode {seconds / encode:.0f}x "
        f"(peak {after:.0f} MB), decode {seconds / decode:.0f}x (peak of both {both:.0f} MB)",
        flush=True,
    )


def cold(model: str, folder: Path) -> None:
    """Print the times of commands from a cold start."""
    clip = folder / "ten.wav"
    soundfile.write(clip, speech(10, 16_000)[0, 0].numpy(), 16_000)
    codec = [sys.executable, "-m", "audiocodec_cli"]
    encode = [*codec, "encode", str(clip), str(folder / "ten.tok"), "--model", model]
    print("| from a cold start, median of 5 | wall-clock time | CPU time |\n| --- | --- | --- |")
    for title, words in (
        ("`codec --help`", [*codec, "--help"]),
        ("`codec encode` of a 10 s clip", [*encode, "--overwrite"]),
    ):
        runs = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True)
            clock = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            runs.append((clock, cpu))
        cells = " | ".join(f"{statistics.median(times):.2f} s" for times in zip(*runs, strict=True))
        print(f"| {title} | {cells} |", flush=True)


@click.command()
@click.option("--model", default="speech_16khz")
@click.option("--hours", default=2.0, help="Length of the long file; 0 leaves it out.")
def main(model: str, hours: float) -> None:
    """Measure a model."""
    codec = load_codec(model)
    millions = codec.num_parameters / 1e6
    print(f"{codec.name} {codec.fingerprint}, {millions:.1f} M parameters\n", flush=True)
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        cold(model, Path(folder))
        print()
        steady(codec)
        if hours:
            long_file(model, codec.sample_rate, hours, Path(folder))


if __name__ == "__main__":
    main()
