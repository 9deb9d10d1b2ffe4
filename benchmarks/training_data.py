"""What reading the data costs a training run, and the memory that it takes, over a large corpus.

    python benchmarks/training_data.py --work DIR --hours 200 --steps 400
    python benchmarks/training_data.py --work DIR --hours 200 --steps 400 --kind packed

The corpus is synthetic: an hour of pieces of the bundled clips, 12 s long, in a tar of FLAC files
or a packed shard, and copies of that file (58 or 115 MB an hour, removed at the end). The recipe of
the bundled model trains on it, batches of 4 x 0.96 s. Prints, for each part of the run, the seconds
of a step, the share of them that the step waited for its batch, and the memory of the process: in
all, and without mapped files. The first part fills the windows and initialises the codebooks.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import soundfile
import torch

from audiocodec import CodecError, find_audio, load_audio
from audiocodec.bundled import CLIPS
from audiocodec.corpus.opening import open_corpus
from audiocodec.corpus.packing.run import begin_packing, pack
from audiocodec.corpus.packing.shards import PackedSettings
from audiocodec.training import Recipe, Trainer, trainer
from audiocodec.training.monitor import open_monitor
from audiocodec.training.runfolder import release

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "speech_16khz.yaml"
RATE = 16000
SECONDS = 12
PIECES = 3600 // SECONDS
PARTS = 10


def write_tars(folder: Path, hours: int) -> None:
    """A tar of an hour, and copies of it."""
    speech = np.concatenate([load_audio(clip, RATE)[0][0].numpy() for clip in find_audio(CLIPS)])
    random = np.random.default_rng(0)
    with tarfile.open(folder / "0000.tar", "w") as tar:
        for number in range(PIECES):
            piece = np.roll(speech, random.integers(len(speech)))[: SECONDS * RATE]
            file = io.BytesIO()
            soundfile.write(file, piece * random.uniform(0.3, 1.0), RATE, format="FLAC")
            member = tarfile.TarInfo(f"{number:03}.flac")
            member.size = len(file.getvalue())
            file.seek(0)
            tar.addfile(member, file)
    for hour in range(1, hours):
        shutil.copyfile(folder / "0000.tar", folder / f"{hour:04}.tar")


def write_packed(folder: Path, hours: int) -> None:
    """A shard of an hour, and copies of it."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        write_tars(Path(scratch), 1)
        corpus = open_corpus(Path(scratch))
        one = begin_packing(corpus, folder, RATE, len(corpus))
        pack(corpus, one, folder, [0])
    for hour in range(1, hours):
        shutil.copyfile(one.path(folder, 0), one.path(folder, hour))
    PackedSettings(RATE, one.corpus, one.utterances * hours, one.shard_size).write(folder)


def memory() -> tuple[float, float]:
    """Megabytes of this process, in all and without files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    total, anonymous = (int(lines[key].split()[0]) / 1000 for key in ("VmRSS", "RssAnon"))
    return total, anonymous


@click.command()
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Scratch folder.")
@click.option("--hours", default=200, show_default=True)
@click.option("--steps", default=400, show_default=True)
@click.option("--kind", type=click.Choice(["tars", "packed"]), default="tars", show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--set", "overrides", multiple=True, help="As in `codec train`.")
def main(
    work: Path, hours: int, steps: int, kind: str, threads: int, overrides: tuple[str, ...]
) -> None:
    torch.set_num_threads(threads)
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        folder = Path(scratch) / "corpus"
        folder.mkdir()
        (write_tars if kind == "tars" else write_packed)(folder, hours)
        train(folder, Path(scratch) / "run", steps, overrides)


def train(folder: Path, out: Path, steps: int, overrides: tuple[str, ...]) -> None:
    changes = {
        "data.root": folder,
        "data.validation": CLIPS,
        "schedule.steps": steps,
        "schedule.initialisation_steps": "[5]",
        "schedule.initialisation_frames": 4000,
    }
    words = [f"{key}={value}" for key, value in changes.items()]
    recipe = Recipe.from_yaml(RECIPE, [*words, *overrides])
    began = time.perf_counter()
    run = Trainer(recipe, out)
    click.echo(f"opened in {time.perf_counter() - began:.1f} s")
    run.monitor = open_monitor(out, 0, run.processes, [])
    waits: list[float] = []
    train_on_batch = trainer.train_on_batch

    def timed(*arguments: Any) -> float:
        waits.append(train_on_batch(*arguments))
        return waits[-1]

    click.echo("\n| steps | s a step | of it waiting for data | memory, MB | without files, MB |")
    click.echo("| -- | -- | -- | -- | -- |")
    with patch.object(trainer, "train_on_batch", timed):
        for part in range(PARTS):
            began, first = time.perf_counter(), len(waits)
            while run.step < steps * (part + 1) // PARTS:
                run.train_step()
            seconds, count = time.perf_counter() - began, max(1, len(waits) - first)
            total, anonymous = memory()
            click.echo(
                f"| to {run.step} | {seconds / count:.2f} | {sum(waits[first:]) / seconds:.1%} | "
                f"{total:.0f} | {anonymous:.0f} |"
            )
    run.sampler.source.close()
    run.monitor.close()
    release(out)


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
