"""Make a trained model larger: deeper, wider, or with attention.

    python tools/grow.py speech_16khz --set residual_units=[1,4,4,8] --out runs/deeper/model

What is added is silent or nearly so, so the larger model decodes to almost the same audio as the
one it was made from. Train it on with `init_from` and the same settings of `codec.seanet`. The
bundled model was deepened in this way (docs/log.md, 2026-11-26).
"""

from __future__ import annotations

from pathlib import Path

import click

from audiocodec import CodecError, save_codec
from audiocodec.checkpoint import load_trainable
from audiocodec.config import apply_override
from audiocodec.modules.shape import SEANetConfig
from audiocodec.training.growth import grown


@click.command()
@click.argument("model")
@click.option("--set", "overrides", multiple=True, required=True, help="A setting of codec.seanet.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Model folder to write, for init_from in a recipe.",
)
def main(model: str, overrides: tuple[str, ...], out: Path) -> None:
    """Write MODEL with larger settings of codec.seanet.

    `residual_units` and `channels` have a number for each level, from the highest sample rate to
    the lowest; `decoder_residual_units` and `decoder_channels` are those of the decoder, if they
    differ. `attention.encoder_blocks` and `attention.decoder_blocks` add attention. All other
    weights stay as they are. Then train the larger model:

    \b
    python tools/grow.py speech_16khz --set decoder_residual_units=[1,3,3,10] \\
        --set attention.decoder_blocks=2 --out runs/larger/model
    codec train recipes/speech_16khz.yaml --set init_from=runs/larger/model \\
        --set codec.seanet.decoder_residual_units=[1,3,3,10] \\
        --set codec.seanet.attention.decoder_blocks=2 --set data.root=my_recordings
    """
    codec = load_trainable(model)
    values = codec.config.seanet.model_dump(mode="json")
    for override in overrides:
        apply_override(values, override)
    codec = grown(codec, SEANetConfig.from_mapping(values, source="--set"))
    save_codec(codec, out)
    parameters = sum(parameter.numel() for parameter in codec.parameters())
    click.echo(f"{out}: {' '.join(overrides)}, {parameters / 1e6:.1f} M parameters")


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
