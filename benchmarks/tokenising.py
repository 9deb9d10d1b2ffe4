"""`codec tokenize` on one and on two cores, beside `codec encode` of the same files, in turns.

    python benchmarks/tokenising.py TRAIN/part0 --files 200

Wall-clock time from a cold start, with the loading of the model; CPU time; and the peak of the
resident memory. The last lines are ratios of the medians.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click

from audiocodec import find_audio
from audiocodec.audio import audio_info


@dataclass(frozen=True)
class Cost:
    """Wall-clock and CPU seconds, and the peak memory in MB, of a process."""

    wall: float
    cpu: float
    peak: float


def cost(arguments: list[str], cores: int) -> Cost:
    """Run `codec` with ``arguments``, bound to the first ``cores`` cores where that is possible."""
    process = subprocess.Popen([sys.executable, "-m", "audiocodec_cli", "-q", *arguments])
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))[:cores]
        os.sched_setaffinity(process.pid, allowed)
    started = time.perf_counter()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise click.ClickException(f"codec {' '.join(arguments)} failed")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--files", default=200, show_default=True, help="How many, the first ones.")
@click.option("--turns", default=3, show_default=True)
@click.option("--format", "format_name", default="parquet", show_default=True)
def main(folder: Path, files: int, turns: int, format_name: str) -> None:
    paths = [path.resolve() for path in find_audio(folder)[:files]]
    hours = sum(audio_info(path).seconds for path in paths) / 3600
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch, "files.txt")
        listed.write_text("".join(f"{path}\n" for path in paths))
        for turn in range(turns):
            for cores in (1, 2):
                jobs = ["--jobs", str(cores)]
                out = str(Path(scratch, f"{cores}-{turn}"))
                tokenize = ["tokenize", str(listed), f"{out}-shards", "--format", format_name]
                encode = ["encode", "--files-from", str(listed), f"{out}-files", "--coding"]
                for name, command in (("tokenize", tokenize), ("encode", [*encode, "fixed"])):
                    found = cost([*command, *jobs], cores)
                    costs.setdefault(f"{name}, {cores} cores", []).append(found)
                    print(f"{name}, {cores} cores: {found}", flush=True)
    print(f"\n{len(paths)} files, {hours:.2f} h of audio, median of {turns} turns\n")
    print("| | wall s | CPU s | x real time | peak MB |\n| -- | -- | -- | -- | -- |")
    wall = {name: median(each.wall for each in found) for name, found in costs.items()}
    for name, found in costs.items():
        cpu, peak = median(each.cpu for each in found), max(each.peak for each in found)
        speed = 3600 * hours / wall[name]
        print(f"| {name} | {wall[name]:.1f} | {cpu:.1f} | {speed:.0f} | {peak:.0f} |")
    one, two = wall["tokenize, 1 cores"], wall["tokenize, 2 cores"]
    print(f"\ntwo cores against one: {one / two:.2f}x")
    print(f"tokenize against encode on two cores: {wall['encode, 2 cores'] / two:.2f}x")


if __name__ == "__main__":
    main()
