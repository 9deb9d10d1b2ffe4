"""`codec train-context`: train a model's context model, with which tokens take fewer bits."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .options import json_option, overwrite_option, threads_option, use_threads


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path())
@click.option(
    "--data",
    required=True,
    metavar="FOLDER",
    type=click.Path(),
    help="Audio files at any depth, which are encoded first; or token files of MODEL, with all "
    "codebooks and fixed coding.",
)
@click.option(
    "--held-out",
    default=None,
    metavar="FOLDER",
    type=click.Path(),
    help="The same, of other speakers, to measure on. Default: every 50th file of --data.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    metavar="M",
    help="Train for this time, without the encoding of audio.  [default: 30]",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Train for so many updates instead; the result is then reproducible.",
)
@click.option(
    "--out",
    default=None,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder for context.safetensors.  [default: the folder of MODEL]",
)
@click.option(
    "--run",
    "folder",
    default=None,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder for checkpoints, the log context.jsonl and tokens of audio.  "
    "[default: runs/context-NAME]",
)
@click.option("--resume", is_flag=True, help="Continue the run in --run from its checkpoint.")
@click.option(
    "--hidden",
    default=None,
    metavar="N,N,...",
    help="Hidden units of each stage's network; the last number holds for all later stages. Each "
    "unit takes about 1.3 kB in the file.  [default: 160]",
)
@overwrite_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@threads_option("one a core, or OMP_NUM_THREADS where that is set")
@json_option(
    "path, fingerprint, num_bytes, step, finished, training_frames, held_out_frames, and savings: "
    "for each number of codebooks saving (a share) and bits (by stage)."
)
def command(
    model: str,
    data: str,
    held_out: str | None,
    minutes: float | None,
    steps: int | None,
    out: Path | None,
    folder: Path | None,
    resume: bool,
    hidden: str | None,
    overwrite: bool,
    seed: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train the context model of MODEL: with it, token files need a fifth to a third fewer bits.

    A context model predicts each code from the codes before it. Coding with it is lossless: the
    codes and the audio stay the same. It is a file of its own, context.safetensors, beside the
    codec's weights. A token file that was coded with it can be read with this very file only, so
    one that is there already is kept: --out writes elsewhere.

    MODEL is a bundled model's name, or the folder of a model of your own. An hour of speech and ten
    minutes on one core show what there is to gain; more of both gains more. Progress lines have the
    bits of a code by stage, on held-out speech, from the very numbers that files are coded with;
    fixed coding needs 10 for 1,024 entries.

    Ctrl-C and SIGTERM stop after the current step and leave a whole checkpoint.

    \b
    codec train-context runs/mine/model --data my_recordings
    codec train-context runs/mine/model --data tokens/ --held-out others/ --minutes 60
    codec train-context runs/mine/model --data my_recordings --resume
    """
    from audiocodec.training.context.run import train_context
    from audiocodec.training.context.settings import ContextSettings
    from audiocodec.training.context.validation import table

    if minutes is not None and steps is not None:
        raise click.UsageError("give one of --minutes and --steps")
    use_threads(threads, default=None)
    values: dict[str, object] = {
        "steps": steps,
        "minutes": None if steps else minutes or 30.0,
        "seed": seed,
    }
    if hidden is not None:
        try:
            units = [int(part) for part in hidden.split(",")]
        except ValueError:
            raise click.UsageError(f"--hidden: {hidden!r} is not a list like 192,160,128") from None
        values["network"] = {"hidden": units}
    settings = ContextSettings.from_mapping(values, source="codec train-context")
    folder = folder or Path("runs") / f"context-{Path(model).resolve().name}"
    result = train_context(model, data, settings, folder, out, held_out, resume, overwrite)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "path": str(result.path),
                    "fingerprint": result.model.fingerprint,
                    "num_bytes": result.path.stat().st_size,
                    "step": result.step,
                    "finished": result.finished,
                    "training_frames": result.training_frames,
                    "held_out_frames": result.held_out_frames,
                    "savings": {
                        str(len(bits.stages)): {
                            "saving": round(bits.saving, 4),
                            "bits": bits.stages.round(3).tolist(),
                        }
                        for bits in result.bits
                    },
                }
            )
        )
        return
    size = result.path.stat().st_size / 1e6
    state = "done" if result.finished else "stopped; continue with --resume"
    click.echo(f"{state}: {result.step} steps; {result.path} ({size:.1f} MB)")
    click.echo("bits saved on held-out speech, and bits by stage:")
    click.echo(table(result.bits))
    if not any(bits.saving > 0 for bits in result.bits):
        click.echo("warning: it saves nothing; train longer, or on more speech", err=True)
