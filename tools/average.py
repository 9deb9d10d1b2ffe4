"""Average the weights of two models.

    python tools/average.py speech_16khz runs/mine/model --share 0.3 --out runs/average/model

Average a model with one that was trained on from it: their weights are close, and the average is
often better than both, where training gained in one score and lost in another (docs/log.md,
2026-11-25). The average of two models trained from different initial weights is noise. Codebooks
that were initialised at different times do not average either: initialise those of the average
again with `tools/initialise_codebooks.py`.
"""

from __future__ import annotations

from pathlib import Path

import click

from audiocodec import Codec, CodecError, save_codec
from audiocodec.checkpoint import load_trainable


@click.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Weight of SECOND in the average; FIRST has the rest.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Model folder to write. It works everywhere --model does.",
)
def main(first: str, second: str, share: float, out: Path) -> None:
    """Average the weights of the models FIRST and SECOND.

    Each is the name of a bundled model or a model folder. One should have been trained on from the
    other; both must have the same configuration. Initialise the codebooks of the average again
    before you use it: tools/initialise_codebooks.py.

    \b
    python tools/average.py speech_16khz runs/mine/model --share 0.3 --out runs/average/model
    """
    one, other = load_trainable(first), load_trainable(second)
    if one.config != other.config:
        raise CodecError(
            f"{second}: its configuration differs from that of {first}; average a model with one "
            "that was trained on from it"
        )
    save_codec(averaged(one, other, share), out)
    click.echo(f"{out}: {1 - share:g} of {first}, {share:g} of {second}")


def averaged(first: Codec, second: Codec, share: float) -> Codec:
    """``first`` with all weights moved by ``share``, in [0, 1], towards those of ``second``.

    ``first`` itself is changed and returned.
    """
    others = second.state_dict()
    first.load_state_dict(
        {
            name: value.lerp(others[name], share) if value.is_floating_point() else value
            for name, value in first.state_dict().items()
        }
    )
    return first


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
