"""Put a high-pass in front of a trained model's encoder.

    python tools/add_highpass.py runs/mine/model --hz 50 --out runs/filtered/model

No training is needed: speech has nothing below 50 Hz that the encoder needs. Tokens of the model
before are not those of the new one. The bundled model got its filter in this way (docs/log.md,
2026-11-28); the recipes train with it from the start.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from audiocodec import Codec, save_codec
from audiocodec.checkpoint import load_trainable


@click.command()
@click.argument("model")
@click.option("--hz", default=50.0, show_default=True, help="Corner frequency (-3 dB).")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--half", is_flag=True, help="Store network weights in 16 bits.")
def main(model: str, hz: float, out: Path, half: bool) -> None:
    """Write MODEL with a high-pass in front of its encoder. Other weights stay as they are."""
    codec = with_highpass(load_trainable(model), hz)
    save_codec(codec, out, torch.float16 if half else torch.float32)
    click.echo(f"{out}: high-pass at {hz:g} Hz")


def with_highpass(codec: Codec, hertz: float) -> Codec:
    """A copy of ``codec`` with a high-pass at ``hertz``."""
    filtered = Codec(codec.config.model_copy(update={"highpass_hz": hertz}))
    tensors = filtered.state_dict() | {
        name: value for name, value in codec.state_dict().items() if "highpass" not in name
    }
    filtered.load_state_dict(tensors)
    filtered.name = codec.name
    return filtered


if __name__ == "__main__":
    main()
