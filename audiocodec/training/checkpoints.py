"""A run's checkpoints: saved whole, loaded, rolled back to; and the weights a run starts from."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from audiocodec.checkpoint import WEIGHTS_NAME, load_trainable, read_config, save_codec
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing
from audiocodec.training.growth import grown
from audiocodec.training.runfolder import (
    DISCRIMINATORS_NAME,
    MODEL_NAME,
    STATE_NAME,
    resume_command,
)
from audiocodec.training.step import TrainingStep
from audiocodec.weights import check_architecture, load_weights, read_weights, save_weights

MAX_ROLLBACKS = 3
"""Rollbacks to one checkpoint, after which the run ends."""

RESEED = 1_000_000_007
"""Added to the numbers of the batches at a rollback, so that the run sees other audio."""


@dataclass
class Progress:
    """The progress of a run, apart from the weights."""

    step: int = 0
    reseed: int = 0
    """Difference between the number of a step and that of its batch of audio."""
    problem: str = ""
    """Why the finished model is not usable; empty if it is, or before the last step."""
    pace: dict[str, float] = field(default_factory=dict)
    """The state of the pace: position in the schedule, time spent. Empty: at the beginning."""


class Checkpoints:
    """The checkpoints of one run. Each replaces the one before.

    Args:
        folder: the run's folder.
        training: what is saved and loaded.
    """

    def __init__(self, folder: Path, training: TrainingStep) -> None:
        self.folder = folder
        self.training = training
        self.saved_step: int | None = None
        self._rollbacks = 0
        self._rolled_back_to: int | None = None

    def save(self, progress: Progress) -> None:
        """Write ``state.pt``, the discriminators and the model, each whole.

        Raises:
            CodecError: one of them cannot be written; it is then as it was before.
        """
        training = self.training
        state = {
            "step": progress.step,
            "reseed": progress.reseed,
            "problem": progress.problem,
            "pace": progress.pace,
            **training.state_dict(),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / STATE_NAME
        try:
            with replacing(target) as path, writing(target):
                _save_state(state, path, target)
            if training.discriminators is not None:
                discriminators = training.discriminators.state_dict()
                save_weights(discriminators, self.folder / DISCRIMINATORS_NAME)
            save_codec(training.average.codec, self.folder / MODEL_NAME)
        except CodecError as error:
            whole = (
                ""
                if self.saved_step is None
                else (
                    f"; the checkpoint of step {self.saved_step} is whole, continue from it with "
                    f"{resume_command(self.folder)}"
                )
            )
            raise CodecError(f"{error}{whole}") from None
        self.saved_step = progress.step

    def load(self) -> Progress:
        """Load ``state.pt``.

        Raises:
            CodecError: it is damaged, or the recipe's model is another.
        """
        path = self.folder / STATE_NAME
        try:
            state: dict[str, Any] = torch.load(path, self.training.device, weights_only=True)
            self.training.load_state_dict(state)
            step = state["step"]
            pace = state.get("pace") or {"position": step, "advance": 1.0}
            progress = Progress(step, state["reseed"], state["problem"], pace)
        except (
            RuntimeError,
            ValueError,
            TypeError,
            KeyError,
            EOFError,
            OSError,
            UnpicklingError,
        ) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise CodecError(f"{path}: damaged, or of another recipe ({reason})") from None
        self.saved_step = progress.step
        return progress

    def roll_back(self) -> Progress:
        """Load the last checkpoint because steps do not stay finite.

        The count of skipped steps continues.

        Raises:
            CodecError: there is no checkpoint, or the run was rolled back to it too often.
        """
        if self.saved_step is None:
            raise CodecError(
                f"{self.folder}: the loss is not finite from the beginning; lower "
                "optimizer.learning_rate"
            )
        if self._rolled_back_to != self.saved_step:
            self._rolled_back_to, self._rollbacks = self.saved_step, 0
        self._rollbacks += 1
        if self._rollbacks > MAX_ROLLBACKS:
            rate = self.training.recipe.optimizer.learning_rate
            raise CodecError(
                f"{self.folder}: loss and gradients do not stay finite after step "
                f"{self.saved_step}, whose checkpoint is whole; lower the learning rate: "
                f"{resume_command(self.folder)} --set optimizer.learning_rate={rate / 10:g}"
            )
        skipped, _ = self.training.skips.read()
        progress = self.load()
        self.training.skips.reset(skipped)
        return progress


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


def _save_state(state: dict[str, Any], path: Path, target: Path) -> None:
    """``torch.save``, whose RuntimeError has no reason in it when the disk is full."""
    try:
        torch.save(state, path)
    except RuntimeError as error:
        reason = error.__context__ if isinstance(error.__context__, OSError) else None
        why = reason.strerror if reason else "is the disk full?"
        raise CodecError(f"{target}: cannot be written ({why})") from None
