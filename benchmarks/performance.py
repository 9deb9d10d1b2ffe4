"""The tables of docs/performance.md in one command: the scripts of speed one after the other.

    pip install '.[test]' onnx onnxruntime transformers snac
    python benchmarks/performance.py | tee performance.txt   # half an hour, idle machine

A script that fails is named at the end, and the others run all the same.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import click

PICTURE = Path(__file__).parents[1] / "docs" / "performance.png"

SCRIPTS = (
    ("peers.py", "--seconds", "10", "--seconds", "60"),
    ("streams.py", "--picture", str(PICTURE)),
    ("engines.py",),
    ("jobs.py",),
    ("speed.py",),
    ("search.py",),
)


@click.command()
@click.option("--quick", is_flag=True, help="Leaves out the long ones: 60 s clips, hours of sound.")
def main(quick: bool) -> None:
    failed = []
    for name, *options in SCRIPTS:
        if quick:
            options = {
                "peers.py": [],
                "streams.py": ["--hours", "0"],
                "speed.py": ["--hours", "0"],
            }.get(name, options)
        start = time.perf_counter()
        print(f"\n## benchmarks/{name} {' '.join(options)}\n", flush=True)
        script = Path(__file__).with_name(name)
        if subprocess.run([sys.executable, str(script), *options]).returncode:
            failed.append(name)
        print(f"\n({time.perf_counter() - start:.0f} s)", flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
