"""A run's folder: its layout, its lock, its recipe and the list of its files.

recipe.yaml                 the recipe, every default written out; used to resume the run
files.json                  the files that were trained on and held out
state.pt                    everything that resuming needs
model/                      the averaged weights as a model folder, for `--model`
models/STEP/                the same at every checkpoint, with `schedule.keep_models`
discriminators.safetensors  the discriminators, for `init_from`
scores.csv                  scores of the finished model, if the run had a budget
log.jsonl, tensorboard/     the log
cache/                      decoded audio, unless `data.cache` names another folder
lock                        locked while a process trains here
"""

import json
import os
import shlex
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from audiocodec.config import apply_override
from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing
from audiocodec.training.data.files import Split
from audiocodec.training.data.utterances import CorpusSplit
from audiocodec.training.processes import Processes
from audiocodec.training.recipe import Recipe

RECIPE_NAME = "recipe.yaml"
STATE_NAME = "state.pt"
MODEL_NAME = "model"
KEPT_NAME = "models"
DISCRIMINATORS_NAME = "discriminators.safetensors"
FILES_NAME = "files.json"
SCORES_NAME = "scores.csv"
LOCK_NAME = "lock"

CORPUS = "(corpus)"
"""The entry of a corpus in :data:`FILES_NAME`: its number of utterances, and its digest."""

_held: dict[str, BinaryIO] = {}
"""Lock files that this process holds, by the real path of their folder."""


def hold(folder: Path) -> None:
    """Lock ``folder`` for this process until :func:`release`, or until the process ends.

    The folder is created. The lock is the operating system's (flock), so that it ends with the
    process.

    Raises:
        CodecError: another process holds the folder, or it cannot be written.
    """
    key = os.path.realpath(folder)
    if key in _held or os.name == "nt":
        return
    import fcntl

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_NAME).open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().decode(errors="replace").strip() or "another process"
        file.close()
        raise CodecError(
            f"{folder}: {holder} is training in this folder; wait for it, or name another folder "
            "with --out"
        ) from None
    except OSError:  # a file system without locks
        file.close()
        return
    with writing(folder / LOCK_NAME):
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        file.flush()
    _held[key] = file


def release(folder: Path) -> None:
    """Let other processes train in ``folder``."""
    file = _held.pop(os.path.realpath(folder), None)
    if file is not None:
        file.close()


def resume_command(folder: Path, processes: Processes | None = None) -> str:
    """The shell command that continues the run in ``folder``, in as many processes."""
    options = processes.options if processes else ""
    return f"codec train --resume {shlex.quote(str(folder))}{options}"


def check_folder(folder: Path, resume: bool) -> None:
    """Check that ``folder`` holds a run if it is to be resumed, and none otherwise.

    Raises:
        CodecError: it does not, or it does.
    """
    if resume and not has_run(folder):
        raise CodecError(f"{folder}: no run to resume; leave out --resume")
    if not resume and has_run(folder):
        raise CodecError(
            f"{folder}: a run is in this folder already; continue it with "
            f"{resume_command(folder)}, or start another with --out"
        )


def has_run(folder: Path) -> bool:
    """Whether ``folder`` holds a run that can be resumed."""
    return (folder / STATE_NAME).is_file()


def read_run_recipe(folder: Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of the run in ``folder``, with ``overrides`` applied.

    Raises:
        CodecError: there is no run to resume, or its recipe cannot be read.
    """
    path = folder / RECIPE_NAME
    if not has_run(folder) or not path.is_file():
        raise CodecError(
            f"{folder}: no run to resume; leave out --resume to start one, or name the folder of "
            "a run that has saved a checkpoint"
        )
    return Recipe.from_yaml(path, overrides)


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write ``recipe.yaml``, every default written out."""
    target = folder / RECIPE_NAME
    with replacing(target) as path, writing(target):
        path.write_text(recipe.to_yaml(), encoding="utf-8")


def begin(folder: Path, recipe: Recipe) -> None:
    """Hold the folder, and write the recipe into it."""
    hold(folder)
    write_recipe(folder, recipe)


def recipe_changes(before: Recipe, after: Recipe) -> list[str]:
    """The settings that differ, one line for each: ``schedule.steps: 40 -> 80``."""
    old, new = (dict(_settings(recipe.model_dump(mode="json"))) for recipe in (before, after))
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def changed_keys(overrides: Iterable[str]) -> set[str]:
    """The dotted keys that ``key=value`` overrides set."""
    values: dict[str, Any] = {}
    for override in overrides:
        apply_override(values, override)
    return {key for key, _ in _settings(values)}


def _settings(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class RunFiles:
    """The files that a run has trained on and those it has held out, with size and time.

    Names are relative to ``data.root``, so that a corpus may be moved.
    """

    def __init__(self, training: Mapping[str, Any], held_out: Mapping[str, Any]) -> None:
        self.training = dict(training)
        self.held_out = dict(held_out)

    @classmethod
    def of(cls, split: Split, root: Path) -> "RunFiles":
        """The files as they are on the disk now."""
        return cls(*({_name(file, root): _state(file) for file in files} for files in split))

    @classmethod
    def of_corpus(cls, split: CorpusSplit) -> "RunFiles":
        """A corpus as it is now, and the ids that are held out, with their places."""
        return cls(
            {CORPUS: [len(split.corpus), split.corpus.digest]},
            {id: [place, 0] for id, place in split.held_out.items()},
        )

    @classmethod
    def read(cls, folder: Path) -> "RunFiles | None":
        """Read the list of an earlier start of the run; ``None`` if there is none.

        Raises:
            CodecError: the file is damaged.
        """
        path = folder / FILES_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(values["training"], values["held_out"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CodecError(
                f"{path}: cannot be read ({error}); without it a resumed run may train on files "
                "that were held out; remove it if that does not matter"
            ) from None

    def write(self, folder: Path) -> None:
        """Write :data:`FILES_NAME`."""
        target = folder / FILES_NAME
        with replacing(target) as path, writing(target):
            values = {"training": self.training, "held_out": self.held_out}
            path.write_text(json.dumps(values, indent=0), encoding="utf-8")

    def held_out_paths(self, root: Path) -> list[Path]:
        """The files below ``root`` that were held out and never trained on."""
        names = self.held_out.keys() - self.training.keys()
        return [root / name if name != "." else root for name in sorted(names)]

    def changes(self, now: "RunFiles") -> str:
        """How many files differ ``now``, in one line; empty if none does."""
        before, after = {**self.training, **self.held_out}, {**now.training, **now.held_out}
        counts = {
            "added": len(after.keys() - before.keys()),
            "gone": len(before.keys() - after.keys()),
            "changed": sum(before[name] != after[name] for name in before.keys() & after.keys()),
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _name(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else os.path.abspath(file)


def _state(file: Path) -> list[float]:
    try:
        status = file.stat()
    except OSError as error:
        raise CodecError(f"{file}: cannot be read ({error.strerror})") from None
    return [status.st_size, round(status.st_mtime, 3)]
