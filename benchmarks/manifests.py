"""Time and memory to plan a corpus of many utterances from a manifest or a list.

Each measurement is in a process of its own: CPU and wall-clock time of `open_corpus`, peak resident
memory of the process, and the time of a slice from the middle. Nothing is read but the manifest.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from audiocodec.corpus.opening import open_corpus

SLICE = 1000


def write(folder: Path, suffix: str, lines: int) -> Path:
    """A manifest or a list that looks like one of LibriLight or MLS."""
    path = folder / f"corpus{suffix}"
    with path.open("w") as file:
        for number in range(lines):
            speaker, chapter = number // 1000, number // 25 % 40
            audio = f"train/{speaker:05d}/{chapter:03d}/{speaker:05d}-{chapter:03d}-{number:07d}"
            entry = {
                "path": f"{audio}.flac",
                "duration": 10 + number % 1000 / 100,
                "speaker": f"{speaker:05d}",
                "text": f"the sentence number {number} and it has about as many words as usual",
            }
            file.write((json.dumps(entry) if suffix == ".jsonl" else f"{audio}.flac") + "\n")
    return path


def measure(path: Path) -> dict[str, float]:
    """Open the corpus at ``path`` in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    corpus = open_corpus(path)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    start = time.perf_counter()
    middle = len(corpus) // 2
    count = sum(1 for _ in corpus.utterances(middle, middle + SLICE))
    assert count == min(SLICE, len(corpus) - middle)
    return {
        "lines": len(corpus),
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "slice_seconds": time.perf_counter() - start,
        "import_mb": before / 1024,  # Linux counts in KiB
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


@click.command(help=__doc__)
@click.option("--lines", default=1_000_000, show_default=True, type=click.IntRange(min=1))
@click.option("--measure", "path", type=Path, hidden=True)
def main(lines: int, path: Path | None) -> None:
    if path:
        click.echo(json.dumps(measure(path)))
        return
    click.echo(
        "| corpus | lines | MB | CPU s | wall s | peak MB | of it imports | slice of 1000, s |\n"
        "| -- | -- | -- | -- | -- | -- | -- | -- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".jsonl", ".txt"):
            path = write(Path(folder), suffix, lines)
            command = [sys.executable, __file__, "--measure", str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout)
            click.echo(
                f"| {suffix} | {row['lines']:.0f} | {path.stat().st_size / 1e6:.0f} "
                f"| {row['cpu_seconds']:.1f} | {row['wall_seconds']:.1f} | {row['peak_mb']:.0f} "
                f"| {row['import_mb']:.0f} | {row['slice_seconds']:.3f} |"
            )


if __name__ == "__main__":
    main()
