"""The weights that a run starts from, if its recipe names a model (``init_from``)."""

import sys
from pathlib import Path

from audiocodec.checkpoint import WEIGHTS_NAME, load_trainable, read_config
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.training.growth import grown
from audiocodec.training.runfolder import DISCRIMINATORS_NAME
from audiocodec.training.step import TrainingStep
from audiocodec.weights import check_architecture, load_weights, read_weights


def load_initial_weights(training: TrainingStep, model: Path) -> None:
    """Load the weights of the folder ``model`` before a run's first step.

    A model of a smaller shape is grown to the recipe's (:mod:`.growth`). The codebooks are not
    loaded if they are initialised at step 0. Discriminators are loaded from the model's folder or
    from the folder above it, as far as they are known there.

    Raises:
        CodecError: a file is damaged, or the model has an architecture that cannot grow to this.
    """
    codec, discriminators = training.codec, training.discriminators
    fresh_codebooks = 0 in training.recipe.schedule.initialisation_steps
    if read_config(model).seanet.computation() != codec.config.seanet.computation():
        _load_grown(codec, model, with_codebooks=not fresh_codebooks)
    elif fresh_codebooks:
        load_weights(codec.encoder, model / WEIGHTS_NAME, "encoder.")
        load_weights(codec.decoder, model / WEIGHTS_NAME, "decoder.")
    else:
        load_weights(codec, model / WEIGHTS_NAME)
    training.average.reset()
    files = (folder / DISCRIMINATORS_NAME for folder in (model, model.parent))
    file = next((path for path in files if path.is_file()), None)
    if discriminators is not None and file is not None:
        new = discriminators.load_known(read_weights(file))
        if new:
            print(f"{file}: has no weights for {', '.join(new)}: they are random", file=sys.stderr)


def _load_grown(codec: Codec, model: Path, with_codebooks: bool) -> None:
    """Load the weights of a model with smaller networks."""
    try:
        larger = grown(load_trainable(model), codec.config.seanet)
    except CodecError as error:
        raise CodecError(f"{model}: weights of another architecture: {error}") from None
    print(f"{model}: is grown to the shape of the recipe's networks", file=sys.stderr)
    for name in ("encoder", "decoder", *(["quantizer"] if with_codebooks else [])):
        part, tensors = getattr(codec, name), getattr(larger, name).state_dict()
        check_architecture(part, tensors, model / WEIGHTS_NAME, f"{name}.")
        part.load_state_dict(tensors)
