"""A model with codebooks placed anew: encoder and decoder as they are, tables for their latents.

    python benchmarks/place.py runs/mine/model TRAIN --out runs/placed/model

Tables do not follow an encoder far by themselves (`benchmarks/stages.py` tells how far), and
tables of two models do not average. Tokens of the model before mean nothing to the new one.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from stages import latents_of, place, with_dims

from audiocodec import Codec, save_codec
from audiocodec.checkpoint import find_model, read_codec


@click.command()
@click.argument("model")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--frames", default=300_000, show_default=True, help="Audible frames to place on.")
@click.option("--dims", default="", help="Dimensions of the stages, e.g. 48,24,12; as they were.")
@click.option("--gain-db", nargs=2, default=(-16.0, 9.0), show_default=True, help="Random gain.")
@click.option("--threads", default=2, show_default=True)
@torch.no_grad()
def main(
    model: str,
    folder: Path,
    out: Path,
    frames: int,
    dims: str,
    gain_db: tuple[float, float],
    threads: int,
) -> None:
    """Write MODEL with codebooks placed on FOLDER's speech as the model folder OUT."""
    torch.set_num_threads(threads)
    codec = read_codec(find_model(model)).eval()
    config = with_dims(codec.config.quantizer, dims)
    placed = Codec(codec.config.model_copy(update={"quantizer": config}))
    placed.encoder.load_state_dict(codec.encoder.state_dict())
    placed.decoder.load_state_dict(codec.decoder.state_dict())
    placed.quantizer = place(latents_of(codec, folder, frames, gain_db), config)
    save_codec(placed, out)


if __name__ == "__main__":
    main()
