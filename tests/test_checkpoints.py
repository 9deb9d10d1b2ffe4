"""Checkpoints in the background, memory that is exhausted, and the scores of a finished run."""

from __future__ import annotations

import csv
import errno
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, CodecError, find_audio, load_codec
from audiocodec.bundled import CLIPS
from audiocodec.training import Recipe, Trainer
from audiocodec.training.budget import SCORES_SHARE, BudgetPace
from audiocodec.training.data.arrivals import FIRST_FILES, Arrivals, first_files
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.data.files import DataConfig
from audiocodec.training.data.tars import unpacked
from audiocodec.training.exhaustion import train_on_batch
from audiocodec.training.losses.config import LossConfig
from audiocodec.training.pace import Pace
from audiocodec.training.scores import keep_time, score_run, table
from audiocodec.training.validation import ValidationSet

TINY = Path(__file__).resolve().parents[1] / "recipes" / "tiny.yaml"


def tiny(*overrides: str) -> Recipe:
    return Recipe.from_yaml(TINY, ["discriminators=null", "schedule.log_every=100", *overrides])


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([value.flatten() for value in trainer.training_step.codec.parameters()])


# In the background.


def test_training_goes_on_while_a_checkpoint_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tiny(), tmp_path)
    trainer.train_step()
    disk_is_free, save = threading.Event(), torch.save

    def slow(*arguments: Any) -> None:
        assert disk_is_free.wait(60)
        save(*arguments)

    monkeypatch.setattr(torch, "save", slow)
    before = weights(trainer)
    trainer.save(in_background=True)
    trainer.train_step()
    assert trainer.step == 2 and trainer.checkpoints.saved_step is None
    assert not torch.equal(weights(trainer), before)
    disk_is_free.set()
    trainer.checkpoints.finish()
    assert trainer.checkpoints.saved_step == 1
    assert load_codec(tmp_path / "model").num_codebooks == 4
    trainer.checkpoints.load()
    assert torch.equal(weights(trainer), before)  # of the moment at which it was begun


def test_a_checkpoint_that_cannot_be_written_ends_the_run_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tiny("schedule.checkpoint_every=2", "schedule.validate_every=100"), tmp_path)
    save = torch.save

    def full_from_step_4(state: Any, path: Path) -> None:
        if state["step"] >= 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(state, path)

    monkeypatch.setattr(torch, "save", full_from_step_4)
    words = r"state\.pt: cannot be written \(No space left on device\); the checkpoint of step 2 is"
    with pytest.raises(CodecError, match=words) as caught:
        trainer.train()
    assert "\n" not in str(caught.value)
    assert trainer.step < 8  # found out at once
    monkeypatch.undo()
    assert load_codec(tmp_path / "model").num_codebooks == 4
    assert Trainer(trainer.recipe, tmp_path, resume=True).step == 2
    assert not list(tmp_path.rglob("*.part"))


# Memory.


def exhausted_above(trainer: Trainer, segments: int, from_step: int = 2) -> None:
    """Let the memory of a trainer suffice for so many segments."""
    training = trainer.training_step
    update = training.update

    def step(variant: Any, audio: torch.Tensor, *more: torch.Tensor) -> Any:
        if len(audio) / training.parts > segments and trainer.step >= from_step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return update(variant, audio, *more)

    training.update = step  # type: ignore[method-assign]


def test_a_batch_that_does_not_fit_is_computed_in_parts_and_that_is_said(tmp_path: Path) -> None:
    trainer = Trainer(tiny(), tmp_path)
    exhausted_above(trainer, 1, from_step=0)
    said: list[str] = []
    sizes: list[int] = []

    def step(batch: Batch) -> None:
        sizes.append(len(batch.audio))
        trainer.training_step(batch.audio, 0)

    for number in range(2):
        train_on_batch(trainer.training_step, step, trainer.sampler.batch, number, said.append)
    assert sizes == [4] * 4
    assert said == [
        f"memory is exhausted: batches are computed in {parts} parts from now on "
        f"(schedule.accumulate={parts})"
        for parts in (2, 4)
    ]


def test_without_memory_for_one_segment_a_run_ends_with_a_whole_checkpoint(tmp_path: Path) -> None:
    trainer = Trainer(tiny(), tmp_path)
    exhausted_above(trainer, 0)
    words = (
        r"exhausted by one segment \(CUDA out of memory.*--resume .* data\.segment_seconds=0\.16"
    )
    with pytest.raises(CodecError, match=words) as caught:
        trainer.train()
    assert "\n" not in str(caught.value)
    assert Trainer(trainer.recipe, tmp_path, resume=True).step == 2


# Scores.


def test_a_finished_budget_leaves_a_table_of_scores(tmp_path: Path, trainable: Codec) -> None:
    validation = ValidationSet([find_audio(CLIPS)[0]], 16000, LossConfig())
    now = [0.0]
    pace = BudgetPace(100, 1000.0, 0, clock=lambda: now[0])
    keep_time(pace, trainable, validation)
    rows = score_run(pace, trainable, validation, tmp_path / "scores.csv")
    assert [row["codebooks"] for row in rows] == [1, 2, 3, 4]
    assert {"pesq_wb", "stoi", "log_mel_distance"} <= rows[0].keys()
    assert all(1 <= row["pesq_wb"] <= 4.7 and 0 <= row["stoi"] <= 1 for row in rows)
    written = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [float(row["kbps"]) for row in written] == [row["kbps"] for row in rows]
    assert table(rows).splitlines()[0].split()[:3] == ["codebooks", "kbps", "PESQ-WB"]
    assert score_run(Pace(1), trainable, validation, tmp_path / "none.csv") == []

    slow = BudgetPace(100, 1000.0, 0, clock=lambda: now[0])
    with slow.timing("scores"):
        now[0] += 8.0
    assert slow.scored_clips(12) == 3  # of 8 s: no more than their share of the time
    assert SCORES_SHARE * 1000 >= 3 * 8


# Recordings.


def test_the_first_files_are_trained_on_while_the_others_are_decoded(tmp_path: Path) -> None:
    for number in range(FIRST_FILES + 5):
        soundfile.write(tmp_path / f"{number:03}.wav", np.full(100 + number, 0.1), 16000)
    files = find_audio(tmp_path)
    first, later = first_files(files)
    assert len(first) == FIRST_FILES and sorted([*first, *later]) == files
    later[2].write_bytes(b"RIFF and no more")
    watching = Arrivals(
        DataConfig(root=str(tmp_path), watch=60.0), files, 16000, tmp_path / "cache", later
    )
    watching.look()
    (samples,) = watching.take()
    assert len(samples) == sum(100 + int(file.stem) for n, file in enumerate(later) if n != 2)
    watching.look()
    assert watching.take() == []


def test_recordings_in_a_tar_are_unpacked_once(tmp_path: Path) -> None:
    clip = find_audio(CLIPS)[0]
    with tarfile.open(tmp_path / "speech.tar", "w") as tar:
        tar.add(clip, f"speaker/{clip.name}")
        tar.add(TINY, "speaker/notes.yaml")
    config = DataConfig(root=str(tmp_path / "speech.tar"))
    found = unpacked(config, tmp_path / "cache")
    assert found.root is not None
    (file,) = find_audio(found.root)
    assert file.name == clip.name and file.read_bytes() == clip.read_bytes()
    assert not list(Path(found.root).rglob("*.yaml"))
    assert unpacked(config, tmp_path / "cache") == found
    assert unpacked(DataConfig(root=str(clip)), tmp_path) == DataConfig(root=str(clip))

    (tmp_path / "broken.tar").write_bytes(b"no tar")
    for text, words in (("broken.tar", "not a tar file"), ("empty.tar", "no audio in this tar")):
        if text == "empty.tar":
            tarfile.open(tmp_path / text, "w").close()
        with pytest.raises(CodecError, match=words) as caught:
            unpacked(DataConfig(root=str(tmp_path / text)), tmp_path / "cache")
        assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [Path(found.root).name]
