"""Run all speed benchmarks, for the tables of docs/performance.md.

    pip install '.[test]' transformers snac
    python benchmarks/performance.py | tee performance.txt   # half an hour, on an idle machine

If a script fails, the others still run, and the failed ones are listed at the end.
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
@click.option("--quick", is_flag=True, help="Leave out the long ones: 60 s clips, hours of audio.")
def main(quick: bool) -> None:
    """Run all speed benchmarks."""
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
