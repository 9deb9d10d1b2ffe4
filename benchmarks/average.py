"""A model between two others: the average of their weights.

    python benchmarks/average.py speech_16khz runs/mine/model --share 0.3 --out runs/between/model

Of a model and what further training made of it (another start would give noise): often better than
both where the training won one score and lost another (docs/log.md, 2026-11-25). Codebooks that
were placed at different times do not average: place them anew afterwards (`place.py`).
"""

from __future__ import annotations

from pathlib import Path

import click

from audiocodec import CodecError, save_codec
from audiocodec.checkpoint import find_model, read_codec


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--share", type=click.FloatRange(0, 1), default=0.5, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path))
def main(first: str, second: str, share: float, out: Path) -> None:
    """Write FIRST with SHARE of SECOND's weights in it as the model folder OUT."""
    codec, other = (read_codec(find_model(name)) for name in (first, second))
    if codec.config != other.config:
        raise CodecError(f"{first} and {second}: codecs of different configurations")
    theirs = other.state_dict()
    mixed = {
        name: value.lerp(theirs[name], share) if value.is_floating_point() else value
        for name, value in codec.state_dict().items()
    }
    codec.load_state_dict(mixed)
    save_codec(codec, out)
    print(f"{out}: {1 - share:g} of {first}, {share:g} of {second}")


if __name__ == "__main__":
    main()
