"""The audio of a run: its files are chosen, compared with those of before, and decoded."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from audiocodec.training.data.arrivals import wait_for_audio
from audiocodec.training.data.cache import cache_path
from audiocodec.training.data.files import Split, data_root
from audiocodec.training.data.opening import open_source
from audiocodec.training.data.segments import SegmentSampler
from audiocodec.training.data.tars import unpacked
from audiocodec.training.data.utterances import CorpusSplit, is_corpus, split_utterances
from audiocodec.training.processes import Processes
from audiocodec.training.recipe import Recipe
from audiocodec.training.runfolder import (
    RECIPE_NAME,
    RunFiles,
    check_folder,
    hold,
    read_run_recipe,
    recipe_changes,
)
from audiocodec.training.schedule import is_quantizing
from audiocodec.training.validation import NoValidation, ValidationSet


class RunData(NamedTuple):
    """The audio of a run."""

    sampler: SegmentSampler
    """Batches to train on."""
    validation: ValidationSet
    skipped: list[str]
    """Why files were left out, a line for each."""


def open_run_data(
    recipe: Recipe,
    folder: Path,
    device: torch.device,
    resume: bool,
    split: Split | None,
    log: Callable[[str], None],
    processes: Processes | None = None,
) -> RunData:
    """Lock the folder, choose and decode the files, and write the list of them.

    Rank 0 does it first; the others find the decoded files.

    Args:
        folder: the run's folder; created and locked as soon as all files are found.
        resume: keep the files held out that the run has held out before.
        split: the files; by default those that the recipe names.
        processes: those that train together; each gets batches of its share.
        log: called with a line about the files, and about what differs from the run's last start.

    Raises:
        CodecError: files are missing or cannot be read, or another process trains in the folder.
    """
    processes = processes or Processes()
    processes.check(recipe)
    with processes.leader_first():
        return _open(recipe, folder, device, resume, split, log, processes)


def _open(
    recipe: Recipe,
    folder: Path,
    device: torch.device,
    resume: bool,
    split: Split | None,
    log: Callable[[str], None],
    processes: Processes,
) -> RunData:
    cache_folder = cache_folder_of(recipe, folder)
    data, sample_rate = unpacked(recipe.data, cache_folder), recipe.codec.sample_rate
    root = data_root(data)
    before = RunFiles.read(folder) if resume else None
    is_named_by_recipe = split is None
    chosen: Split | CorpusSplit
    if split is None and is_corpus(data):
        chosen = split_utterances(data, before.held_out if before else None)
        files = RunFiles.of_corpus(chosen)
    else:
        chosen = split or wait_for_audio(data, before.held_out_paths(root) if before else ())
        files = RunFiles.of(chosen, root)
        cache_path(chosen.training, sample_rate, cache_folder)  # fails if a file is missing
    if processes.leads:
        hold(folder)
    check_folder(folder, resume)  # again: another process may have trained here in between
    if resume:
        _log_changes(recipe, folder, before, files, log)
    if is_named_by_recipe:
        log(chosen.describe())
        _warn_of_short_run(recipe)
    gone = before.held_out_paths(root) if before else []
    source, skipped = open_source(recipe, data, chosen, cache_folder, device, gone)
    seed, batch_size = recipe.seed, recipe.schedule.batch_size
    sampler = SegmentSampler(source, data, sample_rate, batch_size, seed, processes.share)
    kind = ValidationSet if processes.leads else NoValidation
    validation = kind(chosen.validation, sample_rate, recipe.losses)
    if not processes.leads:
        return RunData(sampler, validation, [])
    files.held_out |= before.held_out if before else {}
    files.write(folder)
    return RunData(sampler, validation, skipped)


def cache_folder_of(recipe: Recipe, folder: Path) -> Path:
    """Where a run in ``folder`` keeps decoded audio."""
    return Path(recipe.data.cache or folder / "cache").expanduser()


def _log_changes(
    recipe: Recipe,
    folder: Path,
    before: RunFiles | None,
    files: RunFiles,
    log: Callable[[str], None],
) -> None:
    """Log what differs from the recipe and the files of the run's last start."""
    if (folder / RECIPE_NAME).is_file():
        for change in recipe_changes(read_run_recipe(folder), recipe):
            log(f"recipe changed: {change}")
    changes = before.changes(files) if before else ""
    if changes:
        log(f"files changed since the run last started: {changes}; held-out files stay held out")


def _warn_of_short_run(recipe: Recipe) -> None:
    schedule = recipe.schedule
    if not is_quantizing(recipe, schedule.steps - 1):
        print(
            f"warning: schedule.steps is {schedule.steps}, but the codebooks are initialised "
            f"at step {min(schedule.initialisation_steps)}: this run makes no usable model",
            file=sys.stderr,
        )
