"""The limits of `codec tokenize` itself: a corpus of a million utterances without audio and model.

A manifest is planned as usual. A stand-in for the codec then gives random codes at once, so what is
measured is planning, the order of the work, writing shards, and the ledger. The run is stopped half
way and begun again in a new process, and a third process finds everything finished.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from manifests import write

from audiocodec.corpus.opening import open_corpus
from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.tokenising.ledger import ShardRecord
from audiocodec.tokenising.ranks import Rank
from audiocodec.tokenising.run import make_shards
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.shard import Progress, write_shard
from audiocodec.tokenising.tokenised import Row, Tokenised

FRAMES, CODEBOOKS, HOP = 50, 6, 320


def rows(corpus: Corpus, start: int, stop: int) -> Generator[Row, None, None]:
    """Utterances of one second with random codes, which depend on their number alone."""
    for number, utterance in enumerate(corpus.utterances(start, stop), start):
        codes = np.random.default_rng(number).integers(1024, size=(CODEBOOKS, FRAMES))
        yield Tokenised(utterance.id, codes.astype(np.uint16), FRAMES * HOP, utterance.speaker)


def run(manifest: Path, folder: Path, form: str, shard_size: int, last: int) -> dict[str, float]:
    """Make the shards in this process; end after shard ``last``, as if it were killed there."""
    start = time.perf_counter()
    corpus = open_corpus(manifest)
    planned = time.perf_counter()
    settings = Settings(
        format=form,
        shard_size=shard_size,
        corpus=corpus.digest,
        utterances=len(corpus),
        model="stand-in",
        fingerprint="0" * 16,
        sample_rate=50 * HOP,
        hop_length=HOP,
        codebook_sizes=(1024,) * CODEBOOKS,
        arithmetic="none",
    )
    made: list[float] = []

    def make(
        indexes: Sequence[int], settings: Settings, folder: Path, progress: Progress | None
    ) -> Iterator[ShardRecord]:
        for index in indexes:
            if index > last:
                return
            before = time.process_time()
            yield write_shard(
                rows(corpus, *settings.slice(index)), index, settings, folder, progress
            )
            made.append(time.process_time() - before)

    make_shards(make, settings, folder, Rank())
    tenth = max(1, len(made) // 10)
    return {
        "plan": planned - start,
        "run": time.perf_counter() - planned,
        "cpu": time.process_time(),
        "shards": len(made),
        "first": sum(made[:tenth]) / tenth,
        "last": sum(made[-tenth:]) / tenth,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


@click.command(help=__doc__)
@click.option("--lines", default=1_000_000, show_default=True, type=click.IntRange(min=1000))
@click.option("--shard-size", default=1000, show_default=True)
@click.option("--format", "form", default="parquet", show_default=True)
@click.option("--measure", nargs=3, type=str, hidden=True)
def main(lines: int, shard_size: int, form: str, measure: tuple[str, str, str] | None) -> None:
    if measure:
        manifest, folder, last = measure
        click.echo(json.dumps(run(Path(manifest), Path(folder), form, shard_size, int(last))))
        return
    shards = -(-lines // shard_size)
    click.echo(
        "| run | shards made | plan, s | run, s | CPU s | CPU s of a shard, first tenth "
        "| last tenth | peak MB |\n| -- | -- | -- | -- | -- | -- | -- | -- |"
    )
    with tempfile.TemporaryDirectory() as name:
        manifest, out = write(Path(name), ".jsonl", lines), Path(name) / "tokens"
        ends = {"to the middle": shards // 2 - 1, "on to the end": shards, "nothing to do": shards}
        for title, last in ends.items():
            options = ["--shard-size", str(shard_size), "--format", form]
            command = [sys.executable, __file__, *options, "--measure", manifest, out, last]
            done = subprocess.run([str(w) for w in command], stdout=subprocess.PIPE, text=True)
            done.check_returncode()
            row = json.loads(done.stdout)
            click.echo(
                f"| {title} | {row['shards']} | {row['plan']:.1f} | {row['run']:.1f} "
                f"| {row['cpu']:.1f} | {row['first']:.2f} | {row['last']:.2f} | {row['peak']:.0f} |"
            )
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        click.echo(f"\n{size / 1e6:.0f} MB in {sum(1 for _ in out.rglob('*'))} files and folders")


if __name__ == "__main__":
    main()
