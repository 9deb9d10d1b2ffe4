"""`codec train`: a recipe in, a run's folder out."""

from __future__ import annotations

import re
from pathlib import Path

import click

from .options import device_option, json_option, resolve_device, threads_option, use_threads


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`90`, `90s`, `9m`, `1.5h`: seconds as a float."""

    name = "duration"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value).strip())
        if not found:
            self.fail(f"{value!r} is no duration; write 90s, 9m or 1.5h", param, ctx)
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


@click.command()
@click.argument("recipe", type=click.Path())
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one setting, e.g. --set data.root=/speech. May be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of the run.  [default: runs/NAME]",
)
@click.option("--resume", is_flag=True, help="Go on where the run in the folder stopped.")
@click.option(
    "--time-limit",
    type=Duration(),
    default=None,
    metavar="9m",
    help="Stop after this long, with a whole checkpoint.",
)
@click.option("--check", is_flag=True, help="Check the recipe, say what it makes, and leave.")
@device_option
@threads_option("one a core, or OMP_NUM_THREADS where that is set")
@json_option(
    "folder, model, step, steps, skipped_steps, finished; with --check: recipe, name, parameters, "
    "frame_rate, bitrates, steps, seconds_per_step, files."
)
def command(
    recipe: str,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    time_limit: float | None,
    check: bool,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train a codec as RECIPE says: a YAML file, or the name of one that ships, e.g. speech_16khz.

    The run's folder gets checkpoints, the model (for --model), TensorBoard curves with sound and
    pictures, and a JSONL log. Ctrl-C, SIGTERM and --time-limit stop after the step in hand and
    leave a whole checkpoint; --resume goes on from it as if nothing had happened.

    \b
    codec train recipes/speech_16khz.yaml --set data.root=~/speech
    codec train recipes/speech_16khz.yaml --resume --time-limit 2h
    tensorboard --logdir runs
    """
    import json

    from audiocodec.codec import Codec
    from audiocodec.training.recipe import Recipe

    use_threads(threads, default=None)
    settings = Recipe.from_yaml(_find(recipe), overrides)
    if check:
        from audiocodec.training.data import training_files

        codec = Codec(settings.codec)
        made = {
            "recipe": str(recipe),
            "name": settings.name,
            "parameters": sum(p.numel() for p in codec.parameters()),
            "frame_rate": codec.frame_rate,
            "bitrates": [codec.bitrate(n + 1) for n in range(codec.num_codebooks)],
            "steps": settings.schedule.steps,
            "seconds_per_step": settings.schedule.batch_size * settings.data.segment_seconds,
        }
        if not settings.data.librispeech:  # a check downloads nothing
            made["files"] = len(training_files(settings.data)[0])
        click.echo(json.dumps(made) if as_json else f"{recipe}: a good recipe\n" + _lines(made))
        return

    from audiocodec.extras import import_extra
    from audiocodec.metrics import check_installed
    from audiocodec.training.trainer import Trainer

    import_extra("tensorboard", "train", "codec train")
    check_installed("codec train")
    folder = out or Path("runs") / settings.name
    trainer = Trainer(settings, folder, resolve_device(device), resume)
    finished = trainer.train(time_limit)
    result = {
        "folder": str(folder),
        "model": str(folder / "model"),
        "step": trainer.step,
        "steps": settings.schedule.steps,
        "skipped_steps": trainer.skipped,
        "finished": finished,
    }
    if as_json:
        click.echo(json.dumps(result))
    elif finished:
        click.echo(f"done: {trainer.step} steps; the model is {folder / 'model'}")
    else:
        click.echo(
            f"stopped at step {trainer.step} of {settings.schedule.steps}; go on with\n"
            f"  codec train {recipe} --out {folder} --resume"
        )


def _find(recipe: str) -> Path:
    """The file called ``recipe``, or the shipped recipe of that name."""
    from importlib.resources import files

    shipped = Path(str(files("audiocodec_recipes"))) / f"{recipe}.yaml"
    return shipped if shipped.is_file() and not Path(recipe).exists() else Path(recipe)


def _lines(values: dict[str, object]) -> str:
    return "\n".join(f"  {name.replace('_', ' ')}: {value}" for name, value in values.items())
