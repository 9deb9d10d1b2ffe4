"""A run's checkpoints: saved whole, loaded, rolled back to.

A checkpoint is a copy of the state, which takes the run a moment, and its writing, which a thread
can do while the run goes on.
"""

import copy
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from audiocodec.checkpoint import save_codec
from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing
from audiocodec.training.runfolder import (
    DISCRIMINATORS_NAME,
    KEPT_NAME,
    MODEL_NAME,
    STATE_NAME,
    resume_command,
)
from audiocodec.training.step import TrainingStep
from audiocodec.weights import save_weights

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
        """The step of the checkpoint that is whole on the disk."""
        self._model = copy.deepcopy(training.average.codec).cpu()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None
        self._rollbacks = 0
        self._rolled_back_to: int | None = None

    def save(self, progress: Progress, in_background: bool = False) -> None:
        """Write ``state.pt``, the discriminators and the model, each whole.

        With ``schedule.keep_models`` the model is also kept as it is now, in a folder of its own.

        Args:
            in_background: do not wait. The next :meth:`save` or :meth:`finish` does, and raises
                the error of this one.

        Raises:
            CodecError: one of them cannot be written; it is then as it was before.
        """
        self.finish()
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "step": progress.step,
            "reseed": progress.reseed,
            "problem": progress.problem,
            "pace": progress.pace,
            **_copied(self.training.state_dict()),
        }
        self._pending = self._writer.submit(self._write, state)
        if not in_background:
            self.finish()

    def finish(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            CodecError: it cannot be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def check(self) -> None:
        """Raise the :class:`CodecError` of a checkpoint that could not be written, if known."""
        if self._pending is not None and self._pending.done():
            self.finish()

    def _write(self, state: dict[str, Any]) -> None:
        target = self.folder / STATE_NAME
        try:
            with replacing(target) as path, writing(target):
                _save_state(state, path, target)
            if "discriminators" in state:
                save_weights(state["discriminators"], self.folder / DISCRIMINATORS_NAME)
            self._model.load_state_dict(state["ema"])
            save_codec(self._model, self.folder / MODEL_NAME)
            if self.training.recipe.schedule.keep_models:
                kept = self.folder / KEPT_NAME / str(state["step"])
                save_codec(self._model, kept, name=f"{self._model.name}-{state['step']}")
        except CodecError as error:
            whole = (
                ""
                if self.saved_step is None
                else (
                    f"; the checkpoint of step {self.saved_step} is whole, continue from it with "
                    f"{self._resume_command}"
                )
            )
            raise CodecError(f"{error}{whole}") from None
        self.saved_step = state["step"]

    @property
    def remedy(self) -> str:
        """How a run that ends now can be continued."""
        if self.saved_step is None:
            return f"{self.folder} has no checkpoint yet: start it again"
        return (
            f"the checkpoint of step {self.saved_step} is whole, continue from it with "
            f"{self._resume_command}"
        )

    @property
    def _resume_command(self) -> str:
        return resume_command(self.folder, self.training.processes)

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
        self.finish()
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
                f"{self._resume_command} --set optimizer.learning_rate={rate / 10:g}"
            )
        skipped, _ = self.training.skips.read()
        progress = self.load()
        self.training.skips.reset(skipped)
        return progress


class FollowingCheckpoints(Checkpoints):
    """Writes nothing: rank 0 does. It knows what was written, and loads it."""

    def save(self, progress: Progress, in_background: bool = False) -> None:
        self.saved_step = progress.step


def checkpoints_of(folder: Path, training: TrainingStep) -> Checkpoints:
    """The checkpoints of this process: rank 0 writes them."""
    kind = Checkpoints if training.processes.leads else FollowingCheckpoints
    return kind(folder, training)


def _copied(value: Any) -> Any:
    """The same with every tensor copied to the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value


def _save_state(state: dict[str, Any], path: Path, target: Path) -> None:
    """``torch.save``, whose RuntimeError has no reason in it when the disk is full."""
    try:
        torch.save(state, path)
    except RuntimeError as error:
        reason = error.__context__ if isinstance(error.__context__, OSError) else None
        why = reason.strerror if reason else "is the disk full?"
        raise CodecError(f"{target}: cannot be written ({why})") from None
