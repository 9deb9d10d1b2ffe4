"""`codec tokenize` with two local jobs, and with two actors of a Ray cluster, in turns.

    python benchmarks/ray_runner.py TRAIN/part0

Wall-clock time from a cold start, with that of Ray; the time from the first finished shard to the
last one; and the peak memory of the command with all processes below it, Ray's own included (the
sum of their proportional set sizes, in which shared memory counts once).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import click

from audiocodec import find_audio
from audiocodec.audio import audio_info


def family(pid: int) -> list[int]:
    """A process and all below it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def memory(pid: int) -> float:
    """MB of a process and all below it."""
    total = 0
    for each in family(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def run(listed: Path, out: Path, runner: str, shard_size: int) -> tuple[float, float, float]:
    """Wall-clock seconds, seconds between the first and the last shard, peak MB."""
    words = ["tokenize", str(listed), str(out), "--jobs", "2", "--runner", runner]
    words += ["--shard-size", str(shard_size), "--format", "npy"]
    started, peak = time.perf_counter(), 0.0
    process = subprocess.Popen([sys.executable, "-m", "audiocodec_cli", "-q", *words])
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(1)
    wall = time.perf_counter() - started
    if process.returncode:
        raise click.ClickException(f"codec {' '.join(words)} failed")
    times = [path.stat().st_mtime for path in out.glob("ledger/shard-*.json")]
    return wall, max(times) - min(times), peak


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--files", default=40, show_default=True, help="How many, the first ones.")
@click.option("--shard-size", default=5, show_default=True)
@click.option("--turns", default=2, show_default=True)
def main(folder: Path, files: int, shard_size: int, turns: int) -> None:
    paths = [path.resolve() for path in find_audio(folder)[:files]]
    hours = sum(audio_info(path).seconds for path in paths) / 3600
    found: dict[str, list[tuple[float, float, float]]] = {"local": [], "ray": []}
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch, "files.txt")
        listed.write_text("".join(f"{path}\n" for path in paths))
        for turn in range(turns):
            for runner, costs in found.items():
                costs.append(run(listed, Path(scratch, f"{runner}-{turn}"), runner, shard_size))
                print(runner, *(f"{value:.1f}" for value in costs[-1]), flush=True)
    print(f"\n{len(paths)} files, {hours:.2f} h of audio, median of {turns} turns\n")
    print("| runner | wall s | first to last shard s | peak MB |\n| -- | -- | -- | -- |")
    middle = {
        runner: [median(each[place] for each in costs) for place in range(3)]
        for runner, costs in found.items()
    }
    for runner, (wall, between, peak) in middle.items():
        print(f"| {runner} | {wall:.0f} | {between:.0f} | {peak:.0f} |")
    ratios = [ray / local for ray, local in zip(middle["ray"], middle["local"], strict=True)]
    print(f"\nray / local: {ratios[0]:.2f} from a cold start, {ratios[1]:.2f} between shards")


if __name__ == "__main__":
    main()
