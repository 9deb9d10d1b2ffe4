"""A run and its folder: files held out, locks, full disks, silence, and odd settings."""

from __future__ import annotations

import copy
import errno
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, CodecError, load_codec, save_codec
from audiocodec.config import Config
from audiocodec.training import Recipe, Trainer
from audiocodec.training.check.inspection import inspect_audio
from audiocodec.training.checkpoints import Checkpoints, Progress
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.data.cache import AudioCache
from audiocodec.training.data.files import BUNDLED_CLIPS, DataConfig, Split, split_files
from audiocodec.training.initialisation import initialise_codebooks
from audiocodec.training.losses.config import LossConfig
from audiocodec.training.losses.registry import LOSSES
from audiocodec.training.runfolder import RunFiles
from audiocodec.training.step import TrainingStep
from audiocodec_cli.main import run

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "recipes" / "tiny.yaml"


def noise(path: Path, seconds: float = 0.5, level: float = 0.1, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = level * np.random.default_rng(seed).standard_normal(round(seconds * 16000))
    soundfile.write(path, samples, 16000)
    return path


def tiny(root: Path | str, *overrides: str) -> Recipe:
    return Recipe.from_yaml(TINY, [f"data.root={root}", *overrides])


# Files that are held out.


def test_held_out_files_stay_held_out_whatever_is_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech, folder = tmp_path / "speech", tmp_path / "run"
    for number in range(6):
        noise(speech / f"{number}.wav", seed=number)
    Trainer(tiny(speech), folder).train(time_limit=0)
    first = RunFiles.read(folder)
    assert first is not None and list(first.held_out) == ["0.wav"]
    assert "5 files to train on, 1 held out" in capsys.readouterr().err

    noise(speech / "-first of all.wav", seed=9)  # held out, if it were a new run
    (speech / "3.wav").unlink()
    noise(speech / "4.wav", seconds=0.7, seed=8)
    trainer = Trainer(tiny(speech), folder, resume=True)
    told = capsys.readouterr().err
    assert "1 added, 1 gone, 1 changed; held-out files stay held out" in told
    trainer.train(time_limit=0)
    after = RunFiles.read(folder)
    assert after is not None and list(after.held_out) == ["0.wav"]
    assert set(after.training) == {"-first of all.wav", "1.wav", "2.wav", "4.wav", "5.wav"}
    assert len(list((folder / "cache").glob("*.int16"))) == 1  # the old one is gone

    # A corpus that has moved is the same corpus.
    speech.rename(tmp_path / "moved")
    capsys.readouterr()
    Trainer(tiny(tmp_path / "moved"), folder, resume=True)
    assert "files changed" not in capsys.readouterr().err

    # Another folder to validate on does not make them training files.
    noise(tmp_path / "other" / "a.wav")
    recipe = tiny(tmp_path / "moved", f"data.validation={tmp_path / 'other'}")
    Trainer(recipe, folder, resume=True)
    again = RunFiles.read(folder)
    assert again is not None and "0.wav" in again.held_out and "0.wav" not in again.training

    for file in (tmp_path / "moved").iterdir():
        if file.name != "0.wav":
            file.unlink()
    with pytest.raises(CodecError, match="only files that this run holds out are left"):
        Trainer(tiny(tmp_path / "moved"), folder, resume=True)
    (tmp_path / "moved" / "0.wav").rename(tmp_path / "moved" / "new.wav")
    with pytest.raises(CodecError, match="held out are gone"):
        Trainer(tiny(tmp_path / "moved"), folder, resume=True)


def test_validation_files_below_the_root_are_not_trained_on(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "validation/c.wav"):
        noise(tmp_path / name)
    split = split_files(DataConfig(root=str(tmp_path), validation=str(tmp_path / "validation")))
    assert [file.name for file in split.training] == ["a.wav", "b.wav"]
    assert [file.name for file in split.held_out] == ["c.wav"]
    same = split_files(DataConfig(root=str(tmp_path), validation=str(tmp_path)))
    assert same.training == same.held_out and "no file is held out" in same.describe()


def test_one_file_serves_both_purposes_with_a_warning(tmp_path: Path) -> None:
    file = noise(tmp_path / "a.wav")
    split = split_files(DataConfig(root=str(tmp_path)))
    assert split == Split([file], [file])
    assert "no file is held out; 1 of the files" in split.describe()


# One process trains in a folder.

HOLDER = """
import sys, time
from pathlib import Path
from audiocodec.training.runfolder import hold
hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_run_in_a_folder_is_refused_until_the_first_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "held\n"
            words = ["train", str(TINY), "--out", str(folder), "--device", "cpu"]
            assert run(words) == 1
            told = capsys.readouterr().err
            assert told.count("\n") == 1
            assert f"{folder}: process {other.pid} on " in told and "--out" in told
            assert not (folder / "log.jsonl").exists()
        finally:
            other.kill()
    assert run([*words, "--time-limit", "0s"]) == 0
    # The run has ended: another process may lock the folder.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        other.kill()


# A model has the name of its recipe.


def test_the_name_of_a_model_is_saved_and_is_not_part_of_its_fingerprint(
    trainable: Codec, tmp_path: Path
) -> None:
    named = copy.copy(trainable)
    named.name = "my voice"
    save_codec(trainable, tmp_path / "a")
    save_codec(named, tmp_path / "b")
    a, b = load_codec(tmp_path / "a"), load_codec(tmp_path / "b")
    assert (a.name, b.name) == ("a", "my voice")
    assert a.fingerprint == b.fingerprint
    assert (tmp_path / "b" / "model.safetensors").stat().st_mode & 0o777 == (
        tmp_path / "b" / "config.json"
    ).stat().st_mode & 0o777


def test_the_model_of_every_checkpoint_is_kept_to_choose_from(tmp_path: Path) -> None:
    step = TrainingStep(tiny(BUNDLED_CLIPS, "schedule.keep_models=true"))
    checkpoints = Checkpoints(tmp_path, step)
    for number in (20, 40):
        with torch.no_grad():
            next(step.average.codec.encoder.parameters()).add_(1)
        checkpoints.save(Progress(number))
    first, last = (load_codec(tmp_path / "models" / number) for number in ("20", "40"))
    assert (first.name, last.name) == ("tiny-20", "tiny-40")
    assert last.fingerprint == load_codec(tmp_path / "model").fingerprint != first.fingerprint


# Disks that are full.


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("what", ["torch.save", "write_bytes", "write_text"])
def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint_whole(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    words = ["train", str(TINY), "--out", str(folder), "--device", "cpu"]
    assert run([*words, "--time-limit", "0s"]) == 0
    before = load_codec(folder / "model").fingerprint
    state = (folder / "state.pt").read_bytes()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        if what == "torch.save":
            patch.setattr(torch, "save", full)
        else:
            patch.setattr(Path, what, full)
        again = ["train", "--resume", str(folder), "--device", "cpu", "--time-limit", "0s"]
        assert run(again) == 1
    told = capsys.readouterr().err
    last = told.strip().splitlines()[-1]
    assert "Traceback" not in told
    assert last.startswith(f"error: {folder}/") and "No space left on device" in last
    if what != "write_text":  # that fails before the first step
        assert (
            "the checkpoint of step 1 is whole, continue from it with codec train --resume" in last
        )
    assert load_codec(folder / "model").fingerprint == before
    if what == "torch.save":
        assert (folder / "state.pt").read_bytes() == state
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]
    assert run(again) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_logs_that_cannot_be_written_do_not_end_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.jsonl").symlink_to("/dev/full")
    monkeypatch.setattr(RecordWriter, "write", full)
    trainer = Trainer(tiny(BUNDLED_CLIPS, "schedule.steps=3", "schedule.log_every=1"), folder)
    assert trainer.train()
    told = capsys.readouterr().err
    assert told.count("No space left on device); training continues without it") == 2
    assert "log.jsonl" in told and "tensorboard" in told and "Traceback" not in told
    assert load_codec(folder / "model").name == "tiny"


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = noise(tmp_path / "a.wav")
    (tmp_path / "cache").mkdir()
    opened = Path.open

    def open_full(path: Path, *words: Any, **options: Any) -> Any:
        if path.parent.name == "cache":
            full()
        return opened(path, *words, **options)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(CodecError, match=r"cache/\w+\.int16: cannot be written \(No space left"):
        AudioCache([file], 16000, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


# Audio that is silent, damaged or gone.


@pytest.mark.parametrize("level", [0.0, 1e-3])
@pytest.mark.parametrize("words", [[], ["--check"]])
def test_a_corpus_without_an_audible_segment_is_refused(
    level: float, words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        noise(here / "speech" / f"{number}.wav", seconds=2, level=level, seed=number)
    assert run(["train", "tiny", "--set", "data.root=speech", "--device", "cpu", *words]) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        told.startswith("error: data.silence_threshold_db: ")
        and "lower data.silence_threshold_db" in told
    )


def test_codebooks_are_not_initialised_without_audible_frames(tmp_path: Path) -> None:
    noise(tmp_path / "speech" / "a.wav", seconds=2, level=0.01)
    recipe = tiny(tmp_path / "speech", "data.gain_db=[-40, -30]")
    trainer = Trainer(recipe, tmp_path / "run")
    with pytest.raises(CodecError, match=r"raise data\.gain_db"):
        initialise_codebooks(trainer.training_step, trainer.sampler.batch, 5)


def test_speech_at_the_end_of_silence_is_found(tmp_path: Path) -> None:
    loud = 0.1 * np.random.default_rng(0).standard_normal(6000)
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.zeros(50_000), loud]), 16000)
    trainer = Trainer(tiny(tmp_path), tmp_path / "run")
    assert trainer.sampler.batch(0).audio.shape == (4, 1, 5120)


def test_a_damaged_file_among_many_is_skipped_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [noise(tmp_path / f"{number:02}.wav", seconds=0.1) for number in range(20)]
    files[7].write_bytes(b"RIFF not audio")
    cache = AudioCache(files, 16000, tmp_path / "cache")
    assert cache.num_samples == 19 * 1600
    assert len(cache.skipped) == 1 and "07.wav" in cache.skipped[0]
    assert "skipped: " in capsys.readouterr().err

    files[8].write_bytes(b"nor this")
    with pytest.raises(CodecError, match=r"07\.wav: .*; so are 1 more of 20 files; remove"):
        AudioCache(files, 16000, tmp_path / "cache")
    with pytest.raises(CodecError, match=r"07\.wav: .*; so are 1 more of 20 files; remove"):
        inspect_audio(Split(files, []), tiny(tmp_path))
    files[8].unlink()
    with pytest.raises(CodecError, match=r"08\.wav: cannot be read"):
        AudioCache(files, 16000, tmp_path / "cache")


def test_a_check_names_unreadable_files_and_counts_the_near_silent(tmp_path: Path) -> None:
    for number in range(30):
        noise(tmp_path / f"{number:02}.wav", level=0.1 if number % 3 else 0.0, seed=number)
    (tmp_path / "04.wav").write_bytes(b"RIFF not audio")
    files = sorted(tmp_path.iterdir())
    found = inspect_audio(Split(files, []), tiny(tmp_path))
    assert (found.decoded, found.near_silent) == (29, 10)
    assert len(found.unreadable) == 1 and "04.wav" in found.unreadable[0]
    assert found.hours * 3600 == pytest.approx(29 * 0.5)


def test_a_check_refuses_a_run_without_disk_space(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = types.SimpleNamespace(free=10_000)
    monkeypatch.setattr("audiocodec.training.check.diskspace.shutil.disk_usage", lambda _: usage)
    assert run(["train", "tiny", "--check", "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    assert "GB are free; make room" in captured.err
    assert "the run cannot start" in captured.out and "memory" in captured.out


def test_exhausted_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(tiny(BUNDLED_CLIPS), tmp_path / "run")

    def exhausted(number: int, step: int) -> Batch:
        return Batch(torch.empty(2**60), torch.empty(0))

    monkeypatch.setattr(trainer.sampler, "batch", exhausted)
    with pytest.raises(CodecError, match=r"schedule\.accumulate.*memory") as told:
        trainer.train()
    assert "\n" not in str(told.value)


def test_a_run_that_does_not_stay_finite_ends_and_says_how_to_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    trainer = Trainer(
        tiny(BUNDLED_CLIPS, "schedule.checkpoint_every=2", "discriminators=null"), folder
    )
    monkeypatch.setattr("audiocodec.training.trainer.MAX_SKIPPED_IN_A_ROW", 2)
    whole = trainer.sampler.batch

    def batch(number: int, step: int) -> Batch:
        audio = whole(number, step).audio * (float("nan") if trainer.step >= 7 else 1)
        return Batch(audio, audio)

    monkeypatch.setattr(trainer.sampler, "batch", batch)
    words = r"after step 6, whose checkpoint is whole; .*--set optimizer\.learning_rate=0\.0001"
    with pytest.raises(CodecError, match=words):
        trainer.train()
    assert load_codec(folder / "model").name == "tiny"
    assert Trainer(trainer.recipe, folder, resume=True).step == 6


# Pictures, whatever backend of matplotlib the environment names.


def test_pictures_do_not_need_the_backend_of_the_environment(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
import torch
from audiocodec.pictures import draw_spectrograms
from audiocodec.training.monitor import Monitor
monitor = Monitor(Path("."), 0)
clips = {"reference": torch.randn(8000)}
monitor.audio(1, clips, 16000)
monitor.close()
draw_spectrograms({"original": clips["reference"].numpy()}, 16000).savefig("spectrograms.png")
print("pyplot", "matplotlib.pyplot" in sys.modules)
"""
    environment = {**os.environ, "MPLBACKEND": "nonsense"}
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "pyplot False\n"
    assert (tmp_path / "spectrograms.png").stat().st_size > 1000


# Any value of a number in a recipe is refused in one line, or trains.


def numeric_fields(config: type[Config], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Dotted keys of all numbers in a configuration class; whether a list of them is due."""
    if config is LossConfig:
        yield from ((f"{prefix}{name}", False) for name in LOSSES)
    for name, field in config.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, Config)]
        if inner and name != "codebook":
            yield from numeric_fields(inner[0], f"{prefix}{name}.")
        elif any(kind in (int, float) for kind in kinds):
            yield f"{prefix}{name}", False
        elif "int" in str(field.annotation) or "float" in str(field.annotation):
            yield f"{prefix}{name}", True


def codebook_fields() -> Iterator[tuple[str, bool, str]]:
    from audiocodec.quantization.family import CODEBOOKS

    for kind, member in CODEBOOKS.items():
        for key, is_list in numeric_fields(member.Config):
            yield f"codec.quantizer.codebook.{key}", is_list, kind


FIELDS = [(key, is_list, "simvq") for key, is_list in numeric_fields(Recipe)] + [*codebook_fields()]
VALUES = ["-1", "0", "1", "1e-9", "1e20", "1e300", ".inf", ".nan"]


def test_every_number_of_a_recipe_is_tried() -> None:
    keys = {key for key, _, _ in FIELDS}
    assert len(keys) > 60
    for key in ("seed", "optimizer.betas", "codec.seanet.strides", "data.gain_db", "losses.mel"):
        assert key in keys


@pytest.fixture(scope="module")
def half_a_second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    noise(folder / "a.wav", seconds=2)
    return folder


@pytest.mark.parametrize(("key", "is_list", "kind"), FIELDS)
def test_any_number_is_refused_in_one_line_or_trains(
    key: str, is_list: bool, kind: str, half_a_second: Path, tmp_path: Path
) -> None:
    given: Any = Recipe.from_yaml(TINY, ["losses.window_lengths=[64]", "losses.mel_bands=[10]"])
    given = given.model_dump()
    for part in key.split("."):
        given = given.get(part) if isinstance(given, dict) else None
    overrides = [
        "schedule.batch_size=1",
        "schedule.initialisation_steps=[0]",
        "schedule.initialisation_frames=64",
        "codec.quantizer.num_codebooks=1",
        "schedule.codebooks=[]",
        "losses.window_lengths=[64]",
        "losses.mel_bands=[10]",
    ]
    if key.startswith("losses."):
        overrides += [f"losses.{name}=1" for name in ("level", "tonal", "loudness")]
    if key.startswith(("losses.", "discriminators.")):
        overrides.append("discriminators.start_step=0")
    else:
        overrides.append("discriminators=null")
    if kind == "fsq":
        overrides.append("codec.quantizer.codebook={kind: fsq}")
    elif kind != "simvq":
        overrides.append(f"codec.quantizer.codebook={{kind: {kind}, size: 16, dim: 4}}")
    accepted, refusals = set(), []
    for value in VALUES:
        text = value
        if is_list:
            others = list(given or [])[1:]
            text = "[" + ", ".join([value, *map(str, others)]) + "]"
        try:
            recipe = tiny(half_a_second, *overrides, f"{key}={text}")
        except CodecError as error:
            refusals.append(str(error))
            continue
        changed = recipe.model_dump_json()
        if changed in accepted:
            continue
        accepted.add(changed)
        try:
            trainer = Trainer(recipe, tmp_path / value)
            trainer.train_step()
        except CodecError as error:
            refusals.append(str(error))
        else:
            for name, weight in trainer.training_step.codec.state_dict().items():
                assert weight.isfinite().all(), f"{key}={text}: {name}"
    assert not [refusal for refusal in refusals if "\n" in refusal]
