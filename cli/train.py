"""`codec train`: a recipe in, a run's folder out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    device_option,
    json_option,
    remark,
    resolve_device,
    threads_option,
    use_threads,
)

if TYPE_CHECKING:
    from audiocodec.training.recipe import Recipe


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
@click.argument("recipe", metavar="RECIPE|RUN", required=False, type=click.Path())
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one setting, e.g. --set data.root=my_recordings. May be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of the run.  [default: runs/NAME]",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the run in the folder RUN from its last checkpoint, with its own recipe.",
)
@click.option(
    "--time-limit",
    type=Duration(),
    default=None,
    metavar="9m",
    help="Stop after this long, with a whole checkpoint.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Do not train. Read the audio, time a few steps, and say what the run makes and takes: "
    "hours, memory, disk.",
)
@device_option
@threads_option("one a core, or OMP_NUM_THREADS where that is set")
@json_option(
    "folder, model, step, steps, skipped_steps, finished, problem; with --check: recipe, name, "
    "parameters, frame_rate, bitrates, files, held_out, hours_of_audio, speakers, to_download, "
    "unreadable, near_silent, listened, silence_threshold_db, device, steps, "
    "audio_seconds_per_step, seconds_per_step, hours, memory_bytes, disk_bytes, folder, problem."
)
def command(
    recipe: str | None,
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

    A recipe needs your recordings: --set data.root=FOLDER, any audio files at any depth. (The
    recipe tiny trains on two bundled clips without that.) Without data.validation one file in fifty
    is held out for validation.

    The run's folder gets checkpoints, the model (for --model), TensorBoard curves with audio and
    pictures, and a JSONL log. Ctrl-C, SIGTERM and --time-limit stop after the current step and
    leave a whole checkpoint. A resumed run equals one that never stopped; with --set it continues
    with that setting changed. The exit status is 1 if the finished model is of no use.

    \b
    codec train tiny
    codec train recipes/speech_16khz.yaml --set data.root=my_recordings --check
    codec train recipes/speech_16khz.yaml --set data.root=my_recordings
    codec train --resume runs/speech_16khz --time-limit 2h
    tensorboard --logdir runs
    """
    import json

    from audiocodec.errors import CodecError
    from audiocodec.evaluation.metrics import check_installed
    from audiocodec.extras import import_extra

    use_threads(threads, default=None)
    import_extra("tensorboard", "train", "codec train")
    check_installed("codec train")
    settings, folder = _resumed(recipe, overrides, out) if resume else _new(recipe, overrides, out)
    if check:
        from audiocodec.training.check import check as check_recipe

        made = {
            "recipe": recipe or str(folder),
            **check_recipe(settings, folder, resolve_device(device)),
        }
        click.echo(json.dumps(made) if as_json else _describe(made))
        if made["problem"]:
            raise CodecError(made["problem"])
        return

    from audiocodec.training.trainer import Trainer

    trainer = Trainer(settings, folder, resolve_device(device), resume)
    finished = trainer.train(time_limit)
    result = {
        "folder": str(folder),
        "model": str(folder / "model"),
        "step": trainer.step,
        "steps": settings.schedule.steps,
        "skipped_steps": trainer.skipped,
        "finished": finished,
        "problem": trainer.problem or None,
    }
    if as_json:
        click.echo(json.dumps(result))
    elif finished:
        click.echo(f"done: {trainer.step} steps; the model is {folder / 'model'}")
    else:
        click.echo(
            f"stopped at step {trainer.step} of {settings.schedule.steps}; go on with\n"
            f"  {trainer.resume_command}"
        )
    if trainer.problem:
        raise CodecError(f"{folder / 'model'}: not usable: {trainer.problem}")


def _new(recipe: str | None, overrides: tuple[str, ...], out: Path | None) -> tuple[Recipe, Path]:
    """The recipe of a new run, and its folder."""
    from audiocodec.errors import CodecError
    from audiocodec.training.recipe import Recipe

    if recipe is None:
        raise click.UsageError(
            "name a recipe, e.g. codec train tiny, or a run: codec train --resume runs/tiny"
        )
    if _find(recipe).is_dir():
        raise CodecError(
            f"{recipe}: is a folder, not a recipe; to continue the run in it: "
            f"codec train --resume {recipe}"
        )
    settings = Recipe.from_yaml(_find(recipe), overrides).with_absolute_paths()
    return settings, out or Path("runs") / settings.name


def _resumed(
    recipe: str | None, overrides: tuple[str, ...], out: Path | None
) -> tuple[Recipe, Path]:
    """The recipe that the run to be resumed has in its folder, and the folder.

    A RECIPE that is named too serves to find the folder; what differs in it is said, not done.
    """
    from audiocodec.errors import CodecError
    from audiocodec.training.recipe import Recipe
    from audiocodec.training.runfolder import (
        changed_keys,
        has_run,
        read_run_recipe,
        recipe_changes,
    )

    if recipe is None and out is None:
        raise click.UsageError("--resume: name the run's folder: codec train --resume runs/NAME")
    if recipe is None or _find(recipe).is_dir() or has_run(Path(recipe)):
        if recipe and out and Path(recipe).resolve() != out.resolve():
            raise click.UsageError(f"--resume: {recipe} and --out {out} are two folders; name one")
        folder = out or Path(str(recipe))
        return read_run_recipe(folder, overrides).with_absolute_paths(), folder
    if not _find(recipe).is_file():
        raise CodecError(f"{recipe}: no run to resume; name a run's folder, e.g. runs/tiny")
    named = Recipe.from_yaml(_find(recipe), overrides).with_absolute_paths()
    folder = out or Path("runs") / named.name
    settings = read_run_recipe(folder, overrides).with_absolute_paths()
    for change in recipe_changes(named, settings):
        if change.partition(":")[0] not in changed_keys(overrides):
            remark(f"the run's own recipe is used, not {recipe}: {change}")
    return settings, folder


def _find(recipe: str) -> Path:
    """The file called ``recipe``, or the shipped recipe of that name."""
    from importlib.resources import files

    shipped = Path(str(files("audiocodec_recipes"))) / f"{recipe}.yaml"
    return shipped if shipped.is_file() and not Path(recipe).is_file() else Path(recipe)


def _describe(made: dict[str, Any]) -> str:
    """What a check found, in words."""
    rates = made["bitrates"]
    lines = [
        f"{made['recipe']}: checked, the run {'cannot' if made['problem'] else 'can'} start",
        f"  model   {made['name']}: {made['parameters'] / 1e6:.2f} M parameters, "
        f"{made['frame_rate']:g} frames/s, {rates[0] / 1000:g} to {rates[-1] / 1000:g} kbps",
    ]
    if made["to_download"]:
        size, subsets = made["disk_bytes"]["download"], ", ".join(made["to_download"])
        lines.append(
            f"  audio   LibriSpeech {subsets}: {_size(size / 2)} to download, {_size(size)} with "
            "the unpacked files"
        )
    else:
        speakers = f" of {made['speakers']} speakers" if made["speakers"] else ""
        lines.append(
            f"  audio   {_hours(made['hours_of_audio'])} in {_count(made['files'], 'file')}"
            f"{speakers} to train on; {_count(made['held_out'], 'file')} held out"
        )
        lines.append(
            f"          {made['near_silent']} of {_count(made['listened'], 'file')} listened to "
            f"are near-silent (nowhere above {made['silence_threshold_db']:g} dB)"
        )
        lines += [f"          will be skipped: {reason}" for reason in made["unreadable"][:5]]
        if len(made["unreadable"]) > 5:
            lines.append(f"          and {len(made['unreadable']) - 5} more")
    lines.append(
        f"  time    about {_hours(made['hours'])} on this {made['device']}: {made['steps']} steps "
        f"of {made['seconds_per_step']:.3g} s (measured), {made['audio_seconds_per_step']:g} s of "
        "audio each"
    )
    if made["memory_bytes"] is not None:
        lines.append(f"  memory  about {_size(made['memory_bytes'])}")
    disk = {name: size for name, size in made["disk_bytes"].items() if name != "download"}
    shares = ", ".join(f"{name} {_size(size)}" for name, size in disk.items() if size)
    lines.append(f"  disk    about {_size(sum(disk.values()))} in {made['folder']}: {shares}")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
