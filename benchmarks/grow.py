"""A deeper model that sounds as a shallow one does: residual units are added, nearly silent.

    python benchmarks/grow.py speech_16khz 1,3,3,6 --out runs/grown/model

Units are added at the end of each level, encoder and decoder alike; everything else is taken over.
Training then goes on from the grown model (`init_from`), with the same numbers of units in
`codec.seanet.residual_units`. So the bundled model was made (docs/log.md, 2026-11-26).
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from audiocodec import Codec, CodecError, save_codec
from audiocodec.checkpoint import find_model, read_codec
from audiocodec.modules.seanet import ResidualUnit

GAIN = 0.02
"""How loud an added unit is, as a share of a fresh one."""


@click.command()
@click.argument("model")
@click.argument("units")
@click.option("--out", required=True, type=click.Path(path_type=Path))
def main(model: str, units: str, out: Path) -> None:
    """Write MODEL with UNITS residual units a level, e.g. 1,3,3,6, as the model folder OUT."""
    codec = grown(read_codec(find_model(model)), tuple(map(int, units.split(","))))
    save_codec(codec, out)
    parameters = sum(parameter.numel() for parameter in codec.parameters())
    print(f"{out}: {units} residual units, {parameters / 1e6:.1f} M parameters")


def grown(codec: Codec, units: tuple[int, ...]) -> Codec:
    """``codec``, not folded, with ``units`` residual units a level.

    Raises:
        CodecError: fewer units than there are, or of other levels.
    """
    before = codec.config.seanet.residual_units
    if len(units) != len(before) or any(new < old for new, old in zip(units, before, strict=True)):
        raise CodecError(f"{units} residual units: a model with {before} can only grow, in place")
    seanet = codec.config.seanet.model_copy(update={"residual_units": units})
    torch.manual_seed(0)
    deeper = Codec(codec.config.model_copy(update={"seanet": seanet}))
    missing = deeper.load_state_dict(codec.state_dict(), strict=False).missing_keys
    for name, unit in deeper.named_modules():
        if isinstance(unit, ResidualUnit) and any(key.startswith(f"{name}.") for key in missing):
            unit.pointwise.conv.weight = GAIN * unit.pointwise.conv.weight.detach()
    return deeper


if __name__ == "__main__":
    main()
