"""`codec train`: train a codec by a recipe, or resume a run."""

from __future__ import annotations

from pathlib import Path

import click

from audiocodec.durations import parse_duration, show_duration
from audiocodec.extras import require_extra

from .checkreport import check_report
from .launch import check_devices, joined, launch, was_launched
from .options import device_option, json_option, resolve_device, threads_option, use_threads
from .recipes import new_run, resumed_run


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`90`, `90s`, `9m`, `1.5h`: seconds as a float."""

    name = "duration"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


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
    help="Stop after this time, with a whole checkpoint.",
)
@click.option(
    "--budget",
    type=Duration(),
    default=None,
    metavar="25m",
    help="Time for the whole run, from now to the saved model. The recipe's steps become shares of "
    "it.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Do not train. Read the audio, time a few steps, and print what the run needs: hours, "
    "memory, disk.",
)
@click.option(
    "--devices",
    type=click.IntRange(1, 1024),
    default=1,
    metavar="N",
    help="Train on so many GPUs of this machine, or in so many processes with --device cpu. Each "
    "takes an equal part of every batch.",
)
@click.option(
    "--nodes",
    type=click.IntRange(1, 4096),
    default=1,
    metavar="M",
    help="Train on so many machines, each with --devices; srun starts this command on each.",
)
@device_option
@threads_option("one a core, or OMP_NUM_THREADS where that is set")
@json_option(
    "folder, model, step, steps (null with a budget), skipped_steps, budget_seconds, budget_spent, "
    "scores, finished, problem; with --check: recipe, name, "
    "parameters, frame_rate, bitrates, files, held_out, hours_of_audio, speakers, to_download, "
    "download_bytes, unreadable, near_silent, files_decoded, silence_threshold_db, device, steps, "
    "audio_seconds_per_step, seconds_per_step, hours, memory_bytes, disk_bytes, folder, problem."
)
def command(
    recipe: str | None,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    time_limit: float | None,
    budget: float | None,
    check: bool,
    devices: int,
    nodes: int,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train a codec by RECIPE: a YAML file, or the name of a bundled recipe, e.g. speech_16khz.

    A recipe needs your recordings: --set data.root=FOLDER, with audio files at any depth, a tar
    file of them, or a corpus of any size: a JSONL manifest, a list, a folder of tars, or what codec
    pack wrote. (The recipe tiny trains on two bundled clips without it.) Unless data.validation
    is set, one file in fifty is held out for validation.

    The run's folder gets checkpoints, the model (for --model), TensorBoard curves with audio and
    pictures, and a JSONL log. Ctrl-C, SIGTERM and --time-limit stop after the current step and
    leave a whole checkpoint. A resumed run equals one that never stopped; --set changes a setting
    from there on. The exit status is 1 if the finished model is not usable.

    With --budget the run takes a time instead of a number of steps: warm-up, decay, phases,
    initialisations of the codebooks, validations and averages of weights are laid over it and
    follow the clock, whatever a step takes, so that the model is finished, saved and scored on
    validation speech when the time is over. A run that was stopped or killed continues with what
    its last checkpoint left of the budget; the time in between does not count. --resume --budget
    gives it another time in all.

    With --devices N, or under torchrun, several processes train one model (extra `distributed`).
    schedule.batch_size is that of all together, so a recipe means the same on any number of
    devices, and a run can be resumed on another number. The folders of the run and of data.cache
    must be the same on all machines.

    \b
    codec train tiny
    codec train recipes/speech_16khz.yaml --set data.root=my_recordings --check
    codec train recipes/speech_16khz.yaml --set data.root=my_recordings
    codec train recipes/speech_16khz.yaml --set data.root=my_recordings --budget 8h
    codec train --resume runs/speech_16khz --time-limit 2h
    codec train recipes/librispeech.yaml --devices 8
    srun codec train recipes/librispeech.yaml --devices 8 --nodes 2
    torchrun --nproc-per-node 8 -m audiocodec_cli train recipes/librispeech.yaml
    tensorboard --logdir runs
    """
    import json
    import time

    began = time.monotonic()
    context = click.get_current_context()
    if was_launched():
        check_devices(devices, nodes)
    elif devices * nodes > 1 and not check:
        require_extra("lightning_fabric", "distributed", "codec train --devices")
        context.exit(launch(devices, nodes, context.find_root().obj))
    from audiocodec.errors import CodecError
    from audiocodec.evaluation.metrics import check_installed
    from audiocodec.extras import import_extra

    if budget is not None:
        overrides += (f"schedule.budget={budget}",)
    use_threads(threads, default=None)
    import_extra("tensorboard", "train", "codec train")
    check_installed("codec train")
    settings, folder = (resumed_run if resume else new_run)(recipe, overrides, out)
    if check:
        from audiocodec.training.check.report import check as check_recipe

        found = {
            "recipe": recipe or str(folder),
            **check_recipe(settings, folder, resolve_device(device)),
        }
        click.echo(json.dumps(found) if as_json else check_report(found))
        if found["problem"]:
            raise CodecError(found["problem"])
        return

    from audiocodec.training.budget import pace_of
    from audiocodec.training.data.files import data_root
    from audiocodec.training.scores import table
    from audiocodec.training.trainer import Trainer

    data_root(settings.data)  # a newcomer's first mistake, said before weights are read
    with joined(resolve_device(device)) as (processes, device):
        pace = pace_of(settings, device, processes.by_leader(began), processes.clock)
        trainer = Trainer(settings, folder, device, resume, pace=pace, processes=processes)
        with processes.watched(lambda: trainer.checkpoints.remedy):
            finished = trainer.train(time_limit)
            done = pace.done
    if not processes.leads:
        return
    is_timed = settings.schedule.budget is not None
    spent = f"{show_duration(done)} of {show_duration(pace.length)}"
    result = {
        "folder": str(folder),
        "model": str(folder / "model"),
        "step": trainer.step,
        "steps": None if is_timed else settings.schedule.steps,
        "skipped_steps": trainer.skipped,
        "budget_seconds": settings.schedule.budget,
        "budget_spent": done if is_timed else None,
        "scores": trainer.scores,
        "finished": finished,
        "problem": trainer.problem or None,
    }
    if as_json:
        click.echo(json.dumps(result))
    elif finished:
        took = f" in {spent}" if is_timed else ""
        click.echo(f"done: {trainer.step} steps{took}; the model is {folder / 'model'}")
        if trainer.scores:
            click.echo(table(trainer.scores))
    else:
        of_all = f"at step {trainer.step} of {settings.schedule.steps}"
        where = f"after {trainer.step} steps, {spent}" if is_timed else of_all
        click.echo(f"stopped {where}; continue with\n  {trainer.resume_command}")
    if trainer.problem:
        raise CodecError(f"{folder / 'model'}: not usable: {trainer.problem}")
