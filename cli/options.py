"""Options that mean the same in every verb that takes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from audiocodec.codec import Codec

DEFAULT_MODEL = "speech_16khz"

Decorated = Callable[..., Any]

model_option = click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME|DIR",
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
    help="Sums of entries kept from codebook to codebook; 4 codes more closely and more slowly.",
)

overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    help="Write outputs again that are there already.",
)

jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Of several files, how many (or batches of short ones) at a time, each on one core. "
    "Default: all cores.",
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
    type=click.Choice(["torch", "onnx"]),
    default="torch",
    show_default=True,
    help="What computes the networks; onnx (extra `onnx`, CPU only) is faster for short pieces.",
)

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the result as one JSON object on stdout.",
)


def resolve_jobs(jobs: int | None, threads: int | None = None) -> int:
    """How many files to do at a time: by default so many that each thread has a core."""
    from joblib import cpu_count

    return jobs or max(1, int(cpu_count()) // (threads or 1))


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


def open_codec(model: str, device: str, engine: str, exact: bool = False) -> Codec:
    """The model on a resolved device, computed by PyTorch or ONNX Runtime; `exact` in float64.

    Raises:
        CodecError: no such model, or what the engine cannot do.
    """
    import torch

    from audiocodec.checkpoint import load_codec
    from audiocodec.errors import CodecError

    if engine == "torch":
        # Else convolutions on a GPU round to ten bits, and codes are not those of a CPU.
        torch.backends.cudnn.allow_tf32 = False
        return load_codec(model, device, torch.float64 if exact else torch.float32)
    if exact:
        raise CodecError("--exact: --engine onnx computes in float32 only; use --engine torch")
    from audiocodec.onnx_engine import use_onnx

    return use_onnx(load_codec(model, device), say=lambda line: click.echo(line, err=True))


def resolve_device(name: str, engine: str = "torch") -> str:
    """`auto`, `cpu` or `cuda` -> `cpu` or `cuda`, where the engine can compute.

    CodecError when CUDA is asked for but absent, or of the engine onnx.
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
