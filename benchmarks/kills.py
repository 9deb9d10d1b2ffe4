"""Does `codec tokenize` end with the same bytes, however often it is killed?

Tokenises a corpus undisturbed, then again with `kill -9` at random moments, and started again each
time, until it is done. All files are compared, byte by byte. With --ranks 2, two processes share
the work, and one of them, chosen at random, is killed each time.

    python benchmarks/kills.py VALIDATION --kills 20
    python benchmarks/kills.py VALIDATION --kills 20 --ranks 2 --format npy
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click


class Killing:
    """Runs of one command, some of which are killed."""

    def __init__(self, corpus: str, options: list[str], ranks: int) -> None:
        self.corpus, self.options, self.ranks = corpus, options, ranks

    def start(self, out: Path, rank: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "audiocodec_cli", "-q", "tokenize", self.corpus, str(out)]
        command += [*self.options, "--shard", f"{rank}/{self.ranks}"]
        return subprocess.Popen(command)

    def whole(self, out: Path) -> float:
        """Run all ranks to their end; the seconds that the slowest took."""
        started = time.perf_counter()
        for run in [self.start(out, rank) for rank in range(self.ranks)]:
            if run.wait() not in (0, 1):
                raise click.ClickException(f"the run ended with {run.returncode}")
        return time.perf_counter() - started

    def killed(self, out: Path, after: float, rank: int) -> bool:
        """Run all ranks, and kill one after some seconds, with the others going on until they are
        done. Whether it was still at work."""
        runs = [self.start(out, each) for each in range(self.ranks)]
        try:
            runs[rank].wait(after)
        except subprocess.TimeoutExpired:
            runs[rank].kill()
        for run in runs:
            run.wait()
        return runs[rank].returncode == -9


def files(folder: Path) -> dict[str, bytes]:
    """All files in a folder, those with hidden names too."""
    return {
        os.path.relpath(os.path.join(root, name), folder): Path(root, name).read_bytes()
        for root, _, names in os.walk(folder)
        for name in names
    }


@click.command()
@click.argument("corpus", type=click.Path(exists=True))
@click.option("--kills", default=20, show_default=True)
@click.option("--ranks", default=1, show_default=True)
@click.option("--format", "format_name", default="parquet", show_default=True)
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("--shard-size", default=8, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    corpus: str, kills: int, ranks: int, format_name: str, model: str, shard_size: int, seed: int
) -> None:
    options = ["--format", format_name, "--shard-size", str(shard_size), "--jobs", "1"]
    options += ["--model", model]
    killing, draw = Killing(corpus, options, ranks), random.Random(seed)
    done = passes = starts = 0
    with tempfile.TemporaryDirectory() as scratch:
        seconds = killing.whole(Path(scratch, "whole"))
        expected = files(Path(scratch, "whole"))
        whole = len([name for name in expected if name.startswith("ledger/shard")])
        print(f"undisturbed: {len(expected)} files in {seconds:.1f} s", flush=True)
        while done < kills:
            passes += 1
            out = Path(scratch, f"killed{passes}")
            while True:
                starts += 1
                after = draw.uniform(0, seconds) if done < kills else 10 * seconds + 60
                was_killed = killing.killed(out, after, draw.randrange(ranks))
                if not was_killed:
                    break
                done += 1
                parts = [name for name in files(out) if name.endswith(".part")]
                held = len([name for name in files(out) if name.startswith("ledger/shard")])
                print(
                    f"kill {done} after {after:.1f} s: {held} shards, {len(parts)} parts left",
                    flush=True,
                )
                if held == whole:
                    break
            killing.whole(out)
            found = files(out)
            names = sorted(
                name for name in expected | found if expected.get(name) != found.get(name)
            )
            if names:
                raise click.ClickException(f"these files differ: {', '.join(names)}")
    print(f"{done} kills in {starts} starts: all {len(expected)} files are equal, {passes} times")


if __name__ == "__main__":
    main()
