"""Options that mean the same in every command that takes them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from audiocodec.audio.raw import SAMPLE_FORMATS
from audiocodec.engines import ENGINES

if TYPE_CHECKING:
    from audiocodec.runtime import RuntimeCodec

DEFAULT_MODEL = "speech_16khz"

Decorated = Callable[..., Any]

model_option = click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME|DIR",
    type=click.Path(),
    help="A bundled model's name, or the folder of a model of your own.",
)

num_codebooks_option = click.option(
    "-n",
    "--num-codebooks",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="How many codebooks to use; fewer is a lower bitrate. Default: all.",
)

beam_option = click.option(
    "--beam",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Beam width of the search for codes; 4 has less distortion than 1 and takes longer.",
)

coding_option = click.option(
    "--coding",
    type=click.Choice(["fixed", "context"]),
    help="How codes are written: fixed, ceil(log2(size)) bits each; context, about a quarter less "
    "for the same codes, read with the model at hand.",
)

overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    help="Replace outputs that are there already.",
)

jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Of several files, how many (or batches of short ones) at a time, each on one core. "
    "Default: all cores.",
)


shard_option = click.option(
    "--shard",
    metavar="I/N",
    help="Make the part I of N equal parts, I from 0 to N-1. Default: what RANK and WORLD_SIZE, or "
    "SLURM_PROCID and SLURM_NTASKS, say; else all.",
)


def threads_option(default: str = "1, or OMP_NUM_THREADS where that is set") -> Decorated:
    """``--threads``; ``default`` says in words how many there are without it."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=None,
        metavar="N",
        help=f"CPU threads that compute one file or stream. Default: {default}.",
    )


device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a CUDA GPU if there is one.",
)

engine_option = click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="torch",
    show_default=True,
    help="What computes the networks; onnx (extra `onnx`, CPU only) is faster for short pieces.",
)

QUIET = "audiocodec.quiet"
"""Key of a click context's ``meta``, which a group and its command share."""


def set_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Hide progress bars and remarks until the context ends."""
    if value and not ctx.meta.get(QUIET):
        from audiocodec.progress import hidden_progress

        ctx.meta[QUIET] = True
        ctx.with_resource(hidden_progress())


def quiet() -> bool:
    """Whether the running command was called with --quiet."""
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.meta.get(QUIET))


def remark(text: str) -> None:
    """A line on stderr that is neither an error nor a warning; none with --quiet."""
    if not quiet():
        click.echo(text, err=True)


quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=set_quiet,
    help="No progress and no remarks: results and errors only.",
)


def json_option(keys: str) -> Decorated:
    """``--json``; ``keys`` are those of the JSON object."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help=f"Print one JSON object on stdout and nothing else there. Its keys: {keys}",
    )


def raw_input_options(command: Decorated) -> Decorated:
    """`--raw RATE`, `--raw-channels` and `--raw-format`: what stdin brings without a WAV header."""
    for option in (
        click.option(
            "--raw-format",
            type=click.Choice(list(SAMPLE_FORMATS)),
            default="s16le",
            show_default=True,
            help="With --raw: how a sample is written.",
        ),
        click.option(
            "--raw-channels",
            type=click.IntRange(1, 65535),
            default=1,
            show_default=True,
            metavar="C",
            help="With --raw: number of channels; their samples alternate.",
        ),
        click.option(
            "--raw",
            type=click.IntRange(min=1),
            metavar="RATE",
            help="stdin brings samples without a WAV header, at RATE Hz.",
        ),
    ):
        command = option(command)
    return command


def resolve_jobs(jobs: int | None, threads: int | None = None) -> int:
    """How many files to do at a time: by default so many that each thread has a core."""
    from audiocodec.cores import available_cores

    return jobs or max(1, available_cores() // (threads or 1))


def use_threads(threads: int | None = None, default: int | None = 1) -> None:
    """Have this process compute on `threads`, before it computes anything.

    Without, OMP_NUM_THREADS says how many, or else `default`; `None` leaves it to PyTorch. One is
    the fastest for streams and files, and beside a busy process several times as fast as two.
    """
    import torch

    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = default
    if threads is not None:
        torch.set_num_threads(threads)


class _Remarks(logging.Handler):
    """Shows the library's log lines as remarks."""

    def emit(self, record: logging.LogRecord) -> None:
        remark(record.getMessage())


def show_log() -> None:
    """Show what the library logs from now on."""
    logger = logging.getLogger("audiocodec")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _Remarks) for handler in logger.handlers):
        logger.addHandler(_Remarks())


def open_codec(model: str, device: str, engine: str, exact: bool = False) -> RuntimeCodec:
    """The model on a resolved device, computed by an engine; `exact` in float64.

    Raises:
        CodecError: no such model, or what the engine cannot do.
    """
    import torch

    from audiocodec.checkpoint import load_codec
    from audiocodec.errors import CodecError

    if exact and engine == "onnx":
        raise CodecError("--exact: --engine onnx computes in float32 only; use --engine torch")
    if device.startswith("cuda"):
        # With TF32, convolutions round to ten bits, and codes differ from those of a CPU.
        torch.backends.cudnn.allow_tf32 = False
    show_log()
    return load_codec(model, device, torch.float64 if exact else torch.float32, engine)


def resolve_device(name: str, engine: str = "torch") -> str:
    """`auto`, `cpu` or `cuda` -> `cpu` or `cuda`, where the engine can compute.

    CodecError for CUDA without a GPU, or with the engine onnx.
    """
    import torch

    from audiocodec.errors import CodecError

    if engine == "onnx":
        if name == "cuda":
            raise CodecError("--device cuda: --engine onnx is for CPUs; use --engine torch")
        return "cpu"
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise CodecError("--device cuda: this machine has no usable CUDA GPU; use --device cpu")
    return name
