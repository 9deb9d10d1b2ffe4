"""Train networks of several shapes for equal compute time and score them on held-out speech.

    python benchmarks/ablation.py TRAIN/part0 VALIDATION --work runs/shapes --minutes 10

Each variant is the bundled model, grown where it differs (what is added is silent at first), and
trained on by the recipe, as a whole or only what is added; or a new network. The CPU time of a
training step is measured once, for all variants in turns, and kept in the folder. Each variant then
trains for as many steps as fit into the time, whatever else the machine does meanwhile. Seed,
batches and losses are equal.

The averaged weights are scored without the quantiser and with some numbers of codebooks. Prints
costs and scores, and the differences from the first row, clip by clip, with 1.96 standard errors.
The command may be interrupted and repeated: what is done is kept.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import torch
from scoretable import Row, Scores, scores, table
from shapes import DEFAULTS, shaped

from audiocodec import CodecError, find_audio, save_codec
from audiocodec.checkpoint import find_model, load_trainable
from audiocodec.paths import replacing
from audiocodec.training import Recipe, Trainer
from audiocodec.training.growth import grown

ROOT = Path(__file__).resolve().parents[1]
INITIALISATIONS = 0.03, 0.15, 0.5, 0.85
"""Shares of a run from nothing at which codebooks are initialised."""
TIMED = 6


class Run(NamedTuple):
    """A variant's recipe, and the parameters that do not learn."""

    recipe: Recipe
    frozen: frozenset[str]

    def trainer(self, folder: Path, resume: bool = False) -> Trainer:
        trainer = Trainer(self.recipe, folder, resume=resume)
        for name, parameter in trainer.training_step.codec.named_parameters():
            if name in self.frozen:
                parameter.requires_grad_(False)
        return trainer

    def of_length(self, steps: int) -> Run:
        """The same for so many steps."""
        optimizer, schedule = self.recipe.optimizer, self.recipe.schedule
        shares = () if self.recipe.init_from else INITIALISATIONS
        settings = {
            "steps": steps,
            "initialisation_steps": tuple(round(share * steps) for share in shares),
            "checkpoint_every": max(1, steps // 8),
            "validate_every": steps,
        }
        warmup = min(optimizer.warmup_steps, steps // 10)
        return self._replace(
            recipe=self.recipe.model_copy(
                update={
                    "schedule": schedule.model_copy(update=settings),
                    "optimizer": optimizer.model_copy(update={"warmup_steps": warmup}),
                }
            )
        )


def make_run(recipe: Recipe, model: str, learns: str, start: Path) -> Run:
    """A run of a recipe from nothing, or from ``model`` grown to the recipe's shape in ``start``.

    Args:
        learns: ``new``, ``grown`` or ``added``.
    """
    if learns == "new":
        return Run(recipe, frozenset())
    small = load_trainable(model)
    large = grown(small, recipe.codec.seanet)
    if not start.is_dir():
        save_codec(large, start)
    recipe = recipe.model_copy(update={"init_from": str(start.absolute())})
    if learns == "grown":
        return Run(recipe, frozenset())
    before = {name: value.shape for name, value in small.named_parameters()}
    frozen = {name for name, value in large.named_parameters() if before.get(name) == value.shape}
    schedule = recipe.schedule.model_copy(
        update={"decoder_only_step": 0, "initialisation_steps": ()}
    )
    return Run(recipe.model_copy(update={"schedule": schedule}), frozenset(frozen))


def step_seconds(trainers: dict[str, Trainer]) -> dict[str, float]:
    """CPU seconds of a training step of each, in turns: the median."""
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for turn in range(TIMED + 1):
        for name, trainer in trainers.items():
            began = time.process_time()
            trainer.train_step()
            if turn:  # the first one is slower
                times[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def train(run: Run, folder: Path) -> None:
    """Train in a folder, from the beginning or from its last checkpoint, unless it is done."""
    trainer = run.trainer(folder, resume=(folder / "state.pt").is_file())
    if not trainer.pace.ended and not trainer.train():
        raise CodecError(f"{folder}: stopped; the same command resumes it")


def measure_costs(runs: dict[str, Run], path: Path) -> dict[str, float]:
    """CPU seconds of a step of each run: those in the file, and newly measured ones."""
    costs: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    if missing := {name: run for name, run in runs.items() if name not in costs}:
        with tempfile.TemporaryDirectory() as folder:
            timed = {name: run.trainer(Path(folder, name)) for name, run in missing.items()}
            for trainer in timed.values():
                trainer.pace.place(0.9 * trainer.pace.steps, 1.0)  # latents are quantised
            costs |= step_seconds(timed)
        with replacing(path) as part:
            part.write_text(json.dumps(costs, indent=1))
    return costs


@click.command()
@click.argument("training", type=click.Path(exists=True, path_type=Path))
@click.argument("validation", type=click.Path(exists=True, path_type=Path))
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Folder of the runs.")
@click.option("--recipe", default=ROOT / "recipes" / "speech_16khz.yaml", type=Path)
@click.option("--model", default="speech_16khz", show_default=True, help="To start from.")
@click.option("--learns", type=click.Choice(["new", "grown", "added"]), default="grown")
@click.option("--minutes", default=10.0, show_default=True, help="CPU time of each variant.")
@click.option("--variant", "variants", multiple=True, help="By default all that can be made.")
@click.option("--every", default=9, show_default=True, help="Score one validation file in so many.")
@click.option("--metric", "metrics", multiple=True, default=["pesq_wb", "stoi"], show_default=True)
@click.option("--set", "overrides", multiple=True, help="Settings of the recipe.")
def main(
    training: Path,
    validation: Path,
    work: Path,
    recipe: Path,
    model: str,
    learns: str,
    minutes: float,
    variants: tuple[str, ...],
    every: int,
    metrics: tuple[str, ...],
    overrides: tuple[str, ...],
) -> None:
    """Compare network shapes after equal compute time.

    --learns new trains new networks; grown, the model with what is added to it; added, only what is
    added to the decoder, while tokens and all other weights stay.
    """
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    data = {"root": training, "validation": validation, "cache": work / "cache"}
    places = [f"data.{key}={folder}" for key, folder in data.items()]
    base = Recipe.from_yaml(recipe, [*overrides, *places]).with_absolute_paths()
    files = find_audio(validation)[::every]
    runs = {
        name: make_run(shaped(base, name), model, learns, work / f"{learns}-{name}" / "start")
        for name in variants or DEFAULTS[learns]
    }
    costs = measure_costs(runs, work / f"costs-{learns}.json")
    rows: dict[str, Row] = {}
    if learns != "new":
        before = kept(work / "before.json", lambda: scores(find_model(model), base, files, metrics))
        rows["before"] = Row(base.codec, 0.0, 0, before)
    for name, run in runs.items():
        folder = work / f"{learns}-{name}"
        run = run.of_length(max(2, round(60 * minutes / costs[name])))

        def result(run: Run = run, folder: Path = folder) -> Scores:
            train(run, folder / "run")
            return scores(folder / "run" / "model", base, files, metrics)

        found = kept(folder / "scores.json", result)
        rows[name] = Row(run.recipe.codec, costs[name], run.recipe.schedule.steps, found)
        click.echo(table(rows) + "\n")


def kept(path: Path, make: Callable[[], Scores]) -> Scores:
    """What ``make`` returned now or in an earlier call, as JSON in a file."""
    if not path.is_file():
        made = make()
        with replacing(path) as part:
            part.write_text(json.dumps(made))
    found: Scores = json.loads(path.read_text())
    return found


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
