"""Options that mean the same in every verb that takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

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
    type=click.IntRange(min=1),
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
    help="Of several files, how many at a time, each on one core. Default: all cores.",
)

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes a CUDA GPU if there is one.",
)

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the result as one JSON object on stdout.",
)


def resolve_jobs(jobs: int | None, device: str) -> int:
    """How many files to do at a time: by default as many as this process may use cores.

    A GPU has one file at a time, unless more are asked for.
    """
    from joblib import cpu_count

    if jobs is not None:
        return jobs
    return int(cpu_count()) if device == "cpu" else 1


def resolve_device(name: str) -> str:
    """`auto`, `cpu` or `cuda` -> `cpu` or `cuda`. CodecError when CUDA is asked for but absent."""
    import torch

    from audiocodec.errors import CodecError

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise CodecError("--device cuda: this machine has no usable CUDA GPU; use --device cpu")
    return name
