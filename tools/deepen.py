"""Add residual units to a trained model.

    python tools/deepen.py speech_16khz 1,4,4,8 --out runs/deeper/model

The added units start nearly silent, so the deeper model decodes to almost the same audio as the
one it was made from. Train it on with `init_from` and the same `codec.seanet.residual_units`. The
bundled model was deepened in this way (docs/log.md, 2026-11-26).
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from audiocodec import Codec, CodecError, save_codec
from audiocodec.checkpoint import load_trainable
from audiocodec.modules.seanet import ResidualUnit

GAIN = 0.02
"""The output of an added unit, relative to that of a unit with fresh weights."""


@click.command()
@click.argument("model")
@click.argument("units")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Model folder to write, for init_from in a recipe.",
)
def main(model: str, units: str, out: Path) -> None:
    """Add residual units to MODEL until its levels have UNITS of them.

    UNITS are the numbers of residual units of all levels, from the highest sample rate to the
    lowest, e.g. 1,3,3,6. They apply to encoder and decoder alike. Units are added at the end of
    each level, and all other weights stay as they are. Then train the deeper model:

    \b
    python tools/deepen.py speech_16khz 1,4,4,8 --out runs/deeper/model
    codec train recipes/speech_16khz.yaml --set init_from=runs/deeper/model \\
        --set codec.seanet.residual_units=[1,4,4,8] --set data.root=my_recordings
    """
    try:
        numbers = tuple(int(number) for number in units.split(","))
    except ValueError:
        raise click.BadParameter(f"{units!r}: write numbers with commas, e.g. 1,3,3,6") from None
    codec = deepened(load_trainable(model), numbers)
    save_codec(codec, out)
    parameters = sum(parameter.numel() for parameter in codec.parameters())
    click.echo(f"{out}: {units} residual units, {parameters / 1e6:.1f} M parameters")


def deepened(codec: Codec, units: tuple[int, ...]) -> Codec:
    """A copy of ``codec`` with ``units`` residual units, one number per level.

    Raises:
        CodecError: fewer units than ``codec`` has, or another number of levels.
    """
    before = codec.config.seanet.residual_units
    if len(units) != len(before) or any(new < old for new, old in zip(units, before, strict=True)):
        raise CodecError(
            f"residual units {units}: the model has {before}; give one number per level, none of "
            "them less"
        )
    seanet = codec.config.seanet.model_copy(update={"residual_units": units})
    torch.manual_seed(0)
    deeper = Codec(codec.config.model_copy(update={"seanet": seanet}))
    added = deeper.load_state_dict(codec.state_dict(), strict=False).missing_keys
    for name, unit in deeper.named_modules():
        if isinstance(unit, ResidualUnit) and any(key.startswith(f"{name}.") for key in added):
            unit.pointwise.conv.weight = GAIN * unit.pointwise.conv.weight.detach()
    return deeper


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
