"""The training loop: steps, the log, validation and checkpoints, until the end or a signal.

A step depends on the state and on (seed, step) alone, and ``state.pt`` holds the whole state. So a
run that was stopped at any step and resumed equals one that never stopped (CPU, same machine);
unless it has a budget, and follows the clock.
"""

import sys
import time
from contextlib import suppress
from functools import partial
from math import nan
from pathlib import Path

import torch
from tqdm import tqdm

from audiocodec.checkpoint import find_model
from audiocodec.errors import CodecError
from audiocodec.progress import progress_hidden
from audiocodec.training.budget import pace_of
from audiocodec.training.checkpoints import RESEED, Progress, checkpoints_of
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.data.files import Split
from audiocodec.training.exhaustion import SegmentTooLongError, train_on_batch
from audiocodec.training.health import Health
from audiocodec.training.initialisation import initialise_in_time
from audiocodec.training.initialweights import load_initial_weights
from audiocodec.training.memory import memory_errors
from audiocodec.training.monitor import open_monitor, run_bar, show_numbers
from audiocodec.training.pace import Pace
from audiocodec.training.processes import Processes
from audiocodec.training.recipe import Recipe
from audiocodec.training.rundata import open_run_data
from audiocodec.training.runfolder import (
    SCORES_NAME,
    begin,
    check_folder,
    hold,
    release,
    resume_command,
)
from audiocodec.training.schedule import is_quantizing
from audiocodec.training.scores import Scores, keep_time, score_run
from audiocodec.training.signals import stop_requests
from audiocodec.training.step import TrainingStep
from audiocodec.training.usage import codebook_numbers

MAX_SKIPPED_IN_A_ROW = 20
"""Steps that are not finite, after which the run rolls back to its last checkpoint."""


class Trainer:
    """One run of a recipe in a folder of its own. The folder is locked: one process trains in it.

    Args:
        recipe: what to train. When a run is resumed, what differs from its former recipe and files
            is printed on stderr.
        folder: the run's folder; created.
        device: ``cpu`` or ``cuda``.
        resume: continue from the folder's ``state.pt``.
        split: the files; by default those that the recipe names.
        pace: how the schedule advances; by default as the recipe says, from now on.
        processes: those that train together, of which this is one.

    Attributes:
        training_step: codec, discriminators, optimisers and averaged weights.
        step: steps done so far.
        skipped: steps skipped so far because they were not finite.
        resume_command: the shell command that continues this run.
        problem: after the last step, why the model is not usable; empty if it is.
        scores: after the last step of a run with a budget, the scores of the model.

    Raises:
        CodecError: the folder holds a run and ``resume`` is off, or there is nothing to resume, or
            another process trains there, or the data or ``init_from`` cannot be read.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: str | Path,
        device: str = "cpu",
        resume: bool = False,
        split: Split | None = None,
        pace: Pace | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.processes = processes or Processes()
        self.recipe, self.folder = recipe, Path(folder)
        self.resume_command = resume_command(self.folder, self.processes)
        self.device = torch.device(device)
        self.pace = pace or pace_of(recipe, self.device, clock=self.processes.clock)
        self._notes: list[str] = []
        self._health = Health()
        self.scores: list[Scores] = []
        check_folder(self.folder, resume)
        try:
            with memory_errors():
                if resume and self.processes.leads:
                    hold(self.folder)
                self.training_step = TrainingStep(recipe, self.device, self.processes)
                self.checkpoints = checkpoints_of(self.folder, self.training_step)
                if not resume and recipe.init_from is not None:
                    load_initial_weights(self.training_step, find_model(recipe.init_from))
                progress = self.checkpoints.load() if resume else Progress()
                self._set_progress(progress)
                self.pace.load_state(progress.pace)
                self.sampler, self.validation, skipped = open_run_data(
                    recipe, self.folder, self.device, resume, split, self._log, self.processes
                )
        except BaseException:
            release(self.folder)
            raise
        self._notes += [f"skipped: {reason}" for reason in skipped]

    def train(self, time_limit: float | None = None) -> bool:
        """Train to the end, or for ``time_limit`` seconds, or until SIGINT or SIGTERM.

        A whole checkpoint is saved in each case. Returns whether the end was reached.

        Raises:
            CodecError: a checkpoint cannot be written (the one before is whole), memory or the
                budget is exhausted, or loss and gradients do not become finite again.
        """
        processes, schedule, pace = self.processes, self.recipe.schedule, self.pace
        self.monitor = open_monitor(self.folder, self.step, processes, self._notes)
        if processes.leads:
            begin(self.folder, self.recipe)
        began = processes.clock()
        try:
            with memory_errors(), stop_requests() as stopped, run_bar(pace, processes.leads) as bar:
                while not pace.ended and not processes.any(bool(stopped)):
                    pace.check(self.resume_command)
                    self.problem = ""
                    numbers = self.train_step()
                    bar.update(round(pace.done) - bar.n)
                    if self.step % schedule.log_every == 0:
                        numbers |= codebook_numbers(
                            self.training_step, pace, self.monitor, self._health, self.step
                        )
                        self.monitor.numbers(self.step, numbers)
                        bar.set_postfix_str(f"loss {numbers.get('loss', nan):.3f}", refresh=False)
                    if pace.is_due("validation", schedule.validate_every) or pace.ended:
                        self._validate()
                    due = pace.is_due("checkpoint", schedule.checkpoint_every) and not pace.ended
                    # No checkpoint while steps are being skipped: the run may roll back to it.
                    if due and not self.training_step.skips.read()[1]:
                        self.save(in_background=pace.has_timed("checkpoint"))
                    self.checkpoints.check()
                    if time_limit is not None and processes.clock() - began >= time_limit:
                        break
            self.save()
            if pace.ended:
                codec, path = self.training_step.average.codec, self.folder / SCORES_NAME
                self.scores = score_run(pace, codec, self.validation, path)
        except SegmentTooLongError as error:
            if not self.step:
                raise
            self.save()
            raise error.continued_with(self.resume_command) from None
        finally:
            with suppress(CodecError):  # of a checkpoint: said already, or another error comes
                self.checkpoints.finish()
            self.sampler.source.close()
            self.monitor.close()
            release(self.folder)
        return pace.ended

    def train_step(self) -> dict[str, float]:
        """Train on one batch, after initialising the codebooks if this step begins with that.

        Returns the numbers to log every ``schedule.log_every`` steps, else nothing. Losses are
        means since the last logged step.
        """
        pace, step, training = self.pace, self.step, self.training_step
        batch = partial(self.sampler.batch, step=step)

        def take(drawn: Batch) -> None:
            training(drawn.audio, step, drawn.reference, pace.position, pace.advance)

        if pace.reaches(self.recipe.schedule.initialisation_steps):
            initialise_in_time(training, batch, step, pace, self._note)
        pace.begin_step()
        began = time.perf_counter()
        data_seconds = train_on_batch(training, take, batch, step + self._reseed, self._warn)
        self.step += 1
        pace.end_step()
        logged = self.step % self.recipe.schedule.log_every == 0
        if logged or self.device.type == "cpu":  # reading a number waits for a GPU
            self._check_skips()
        if not logged:
            return {}
        return {
            **training.means.read(),
            "learning_rate": float(training.optimizer.param_groups[0]["lr"]),
            "skipped_steps": float(self.skipped),
            "seconds/data": data_seconds,
            "seconds/step": time.perf_counter() - began,
            **pace.numbers(),
        }

    def save(self, in_background: bool = False) -> None:
        """Write a checkpoint; a thread does it ``in_background``, while training goes on.

        Raises:
            CodecError: it, or the one before, cannot be written; the last whole one is named.
        """
        progress = Progress(self.step, self._reseed, self.problem, self.pace.state())
        with self.pace.timing("checkpoint", is_whole=not in_background):
            self.checkpoints.save(progress, in_background)

    def _set_progress(self, progress: Progress) -> None:
        self.step, self._reseed, self.problem = progress.step, progress.reseed, progress.problem
        self.skipped, _ = self.training_step.skips.read()

    def _check_skips(self) -> None:
        """Log steps that were not finite; after too many in a row roll back."""
        skipped, in_a_row = self.training_step.skips.read()
        if skipped > self.skipped:
            self._note("step skipped: loss or gradient not finite")
        self.skipped = skipped
        if in_a_row >= MAX_SKIPPED_IN_A_ROW:
            with self.processes.leader_first():
                progress = self.checkpoints.roll_back()
            self._set_progress(progress)
            self.pace.roll_back(progress.pace)
            self._reseed += RESEED
            self._note("rolled back to the last checkpoint")

    def _validate(self) -> None:
        """Log how the averaged weights do; after the last step find out if they are usable."""
        with self.pace.timing("validation"):
            numbers, clips, coding = self.validation.run(self.training_step.average.codec)
            self.monitor.numbers(self.step, numbers)
            self.monitor.audio(self.step, clips, self.recipe.codec.sample_rate, coding)
        keep_time(self.pace, self.training_step.average.codec, self.validation)
        show_numbers(self.step, numbers)
        # Without codebooks the run began with a warning.
        if numbers and self.pace.ended and is_quantizing(self.recipe, self.pace.last):
            self.problem = self._health.problem(
                self.recipe, self.step, numbers, self.validation.silence, self.skipped
            )

    def _log(self, line: str) -> None:
        """Print a line, unless progress is hidden, and log it when the log is open."""
        if not progress_hidden():
            print(line, file=sys.stderr)
        self._notes.append(line)

    def _warn(self, text: str) -> None:
        tqdm.write(f"warning: {text}", file=sys.stderr)
        self._note(text)

    def _note(self, text: str) -> None:
        self.monitor.note(self.step, text)
