"""Train the same small codec with every quantiser and score the results on held-out speech.

    python benchmarks/codecs.py --data FOLDER --validation FOLDER

Trains `recipes/ablation/*.yaml` one after the other with equal seeds, data, steps and rates. The
command may be interrupted and repeated: finished runs are skipped, others are resumed. Prints a
table (scores with all codebooks and with three; usage and perplexity of each stage over the scored
clips; seconds per step) and draws the validation mel loss against steps.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import click
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from audiocodec import CodecError, evaluate, find_audio, load_codec
from audiocodec.evaluation import Evaluation
from audiocodec.training import Recipe, Trainer

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "recipes" / "ablation"
MEMBERS = [
    "vq_default",
    "vq",
    "ema_vq",
    "simvq_default",
    "simvq_whitened",
    "simvq",
    "simvq_diagonal",
    "simvq_orthogonal",
    "simvq_both",
    "simvq_rotation",
    "fsq",
]
FEW = 3
CLIPS = 44


def train(recipe: Recipe, folder: Path) -> None:
    """Train a recipe in its folder, from the beginning or from its last checkpoint.

    Raises:
        CodecError: the folder has a run with other settings, or this run was interrupted.
    """
    resume = (folder / "state.pt").is_file()
    if resume and Recipe.from_yaml(folder / "recipe.yaml") != recipe:
        raise CodecError(f"{folder}: a run with other settings; remove it or name another --work")
    if resume and last_step(folder) >= recipe.schedule.steps:
        return
    if not Trainer(recipe, folder, resume=resume).train():
        raise CodecError(f"{folder}: stopped; the same command resumes it")


def last_step(folder: Path) -> int:
    """The last step of a run's checkpoint."""
    return torch.load(folder / "state.pt", "cpu", weights_only=True)["step"]


def log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def row(member: str, folder: Path, scores: Evaluation) -> str:
    """A line of the table."""
    cells = [f"`{member}`"]
    for count in scores.num_codebooks[::-1]:
        for score, form in (("log_mel_distance", ".2f"), ("pesq_wb", ".3f"), ("stoi", ".3f")):
            mean = scores.mean(score, count)
            cells.append(f"{mean.mean:{form}} ± {mean.ci95 or 0:{form}}" if mean else "-")
    cells.append(" ".join(f"{100 * used:.0f}" for used in scores.usage))
    cells.append(" ".join(f"{even:.0f}" for even in scores.perplexity))
    steps = [line["seconds/step"] for line in log(folder) if "seconds/step" in line]
    cells.append(f"{statistics.median(steps):.3f}" if steps else "-")
    return "| " + " | ".join(cells) + " |"


def head(counts: tuple[int, ...]) -> str:
    """The head of the table, for these numbers of codebooks."""
    titles = ["quantiser"]
    for count in counts[::-1]:
        titles += [f"log-mel dB, {count} stages", f"PESQ-WB, {count}", f"STOI, {count}"]
    titles += ["usage %, stage by stage", "perplexity", "s per step"]
    return "| " + " | ".join(titles) + " |\n" + "| --- " * len(titles) + "|"


def draw_curves(work: Path, members: list[str], path: Path) -> None:
    """Draw validation mel loss against steps: a panel for the fewest codebooks, one for all."""
    curves = {member: log(work / member) for member in members}
    names = sorted(
        {name for lines in curves.values() for line in lines for name in line if "/mel_" in name},
        key=lambda name: int(name.rsplit("_", 1)[1]),
    )
    figure = Figure(figsize=(12, 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, name in zip(figure.subplots(1, 2), (names[0], names[-1]), strict=True):
        for number, (member, lines) in enumerate(curves.items()):
            points = [(line["step"], line[name]) for line in lines if name in line]
            style = ("-", "--", ":")[number // 4 % 3]
            panel.plot(*zip(*points, strict=True), style, marker=".", label=member)
        panel.set_title(f"stages: {name.rsplit('_', 1)[1]}", fontsize=10)
        panel.set_xlabel("steps")
        panel.set_ylabel("validation mel loss")
        panel.set_yscale("log")
        panel.grid(which="both", alpha=0.3)
    panel.legend(fontsize=8)
    figure.savefig(path)


@click.command()
@click.option("--data", required=True, help="Speech to train on.")
@click.option("--validation", required=True, help="Held-out speech, for validation and scores.")
@click.option(
    "--member", "members", multiple=True, type=click.Choice(MEMBERS), help="[default: all]"
)
@click.option("--steps", type=int, help="Training steps.  [default: as in the recipes]")
@click.option("--set", "overrides", multiple=True, help="For every run, as in `codec train`.")
@click.option("--seed", default=0, show_default=True)
@click.option("--work", default="runs/ablation", show_default=True, type=click.Path(path_type=Path))
@click.option("--threads", default=2, show_default=True)
@click.option("--clips", default=CLIPS, show_default=True, help="Number of clips to score.")
@click.option(
    "--picture",
    default=ROOT / "docs" / "codecs.png",
    type=click.Path(path_type=Path),
    help="File for the curves.  [default: docs/codecs.png]",
)
def main(
    data: str,
    validation: str,
    members: tuple[str, ...],
    steps: int | None,
    overrides: tuple[str, ...],
    seed: int,
    work: Path,
    threads: int,
    clips: int,
    picture: Path,
) -> None:
    """Train the same codec with every quantiser and compare the results."""
    torch.set_num_threads(threads)
    changes = [f"seed={seed}", f"data.cache={work / 'cache'}", *overrides]
    changes += [f"data.root={data}", f"data.validation={validation}"]
    if steps is not None:
        changes.append(f"schedule.steps={steps}")
    chosen = list(members) or MEMBERS
    recipes = {m: Recipe.from_yaml(RECIPES / f"{m}.yaml", changes) for m in chosen}
    rows = []
    for member, recipe in recipes.items():
        train(recipe, work / member)
        files = find_audio(validation)
        codec = load_codec(str(work / member / "model"))
        counts = tuple(sorted({min(FEW, codec.num_codebooks), codec.num_codebooks}))
        scores = evaluate(
            codec, files[:: max(1, len(files) // clips)][:clips], counts, jobs=threads
        )
        if not rows:
            print(
                f"{recipe.schedule.steps} steps of {recipe.schedule.batch_size} x "
                f"{recipe.data.segment_seconds:g} s, {threads} threads; "
                f"{len(scores.rows) // len(counts)} clips, mean ± 95 % interval\n\n{head(counts)}"
            )
        rows.append(row(member, work / member, scores))
        print(rows[-1], flush=True)
    draw_curves(work, chosen, picture)


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
