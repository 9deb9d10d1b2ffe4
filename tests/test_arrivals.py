"""Recordings that arrive in the folder while a run trains (`data.watch`)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import CodecError
from audiocodec.training import Recipe, Trainer
from audiocodec.training.data import arrivals
from audiocodec.training.data.arrivals import Arrivals, wait_for_audio
from audiocodec.training.data.cache import AudioCache
from audiocodec.training.data.decoded import DecodedAudio
from audiocodec.training.data.files import DataConfig
from audiocodec.training.data.segments import SegmentSampler
from audiocodec_cli.main import run

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "recipes" / "tiny.yaml"


def tone(path: Path, level: float, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(round(seconds * 16000), level), 16000)
    return path


def config(root: Path, **settings: object) -> DataConfig:
    return DataConfig.from_mapping(
        {"root": str(root), "watch": "1m", "segment_seconds": 0.25, "gain_db": [0, 0], **settings}
    )


def test_new_files_are_taken_when_they_are_whole_and_held_out_ones_never(tmp_path: Path) -> None:
    speech = tmp_path / "speech"
    old, held_out = tone(speech / "old.wav", 0.1), tone(speech / "held_out.wav", 0.1)
    watching = Arrivals(
        config(speech, validation=str(speech / "validation")),
        [old, held_out],
        16000,
        tmp_path / "cache",
    )
    watching.look()
    watching.look()
    assert watching.take() == []
    tone(speech / "validation" / "other.wav", 0.3)
    new = tone(speech / "new.wav", 0.2, seconds=0.25)
    watching.look()
    tone(new, 0.2)  # it was still being written
    watching.look()
    assert watching.take() == []
    watching.look()
    (samples,) = watching.take()
    assert len(samples) == 8000 and samples[0] == pytest.approx(0.2 * 32767, abs=1)
    watching.look()
    assert watching.take() == []


def test_a_damaged_arrival_is_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "old.wav", 0.1)
    watching = Arrivals(config(tmp_path), [tmp_path / "old.wav"], 16000, tmp_path / "cache")
    (tmp_path / "broken.flac").write_bytes(b"fLaC and nothing else")
    for _ in range(3):
        watching.look()
    assert watching.take() == []
    assert capsys.readouterr().err.count("broken.flac") == 1


def test_segments_come_from_all_parts_and_from_none_across_two(tmp_path: Path) -> None:
    files = [tone(tmp_path / "a.wav", 0.1)]
    settings = config(tmp_path)
    cache = AudioCache(files, 16000, tmp_path / "cache")
    audio, other = (
        DecodedAudio([cache.samples], settings, 16000, torch.device("cpu")) for _ in range(2)
    )
    sampler, plain = (SegmentSampler(source, settings, 16000, 64, 0) for source in (audio, other))
    audio.add(np.full(100, 9000, np.int16))  # shorter than a segment: not used
    assert torch.equal(sampler.batch(3).audio, plain.batch(3).audio)
    audio.add(np.full(8000, 6553, np.int16))
    levels = sampler.batch(3).audio.abs()
    assert torch.equal(levels.amin(dim=2), levels.amax(dim=2))  # each from one part alone
    share = (levels.amax(dim=2) > 0.15).float().mean()
    assert 0.3 < share < 0.7


def test_a_run_trains_on_what_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = tmp_path / "speech"
    for name in ("a.wav", "b.wav", "c.wav"):
        noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
        speech.mkdir(exist_ok=True)
        soundfile.write(speech / name, noise, 16000)
    monkeypatch.setattr(arrivals, "LOOK_SECONDS", 0.0)
    recipe = Recipe.from_yaml(TINY, [f"data.root={speech}", "data.watch=1m"])
    trainer = Trainer(recipe, tmp_path / "run")
    audio = trainer.sampler.source
    assert isinstance(audio, DecodedAudio)
    before = audio.pieces.num_samples
    tone(speech / "new.wav", 0.2)
    until = time.monotonic() + 60
    while audio.pieces.num_samples == before and time.monotonic() < until:
        trainer.train_step()
    assert audio.pieces.num_samples == before + 8000
    assert trainer.train()


def test_a_run_waits_for_its_first_files(tmp_path: Path) -> None:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) in (3, 4):
            tone(tmp_path / "a.wav", 0.1, seconds=0.1 * len(slept))
            tone(tmp_path / "b.wav", 0.1)

    split = wait_for_audio(config(tmp_path), (), sleep)
    assert len(split.training) == len(split.held_out) == 1
    assert len(slept) == 5  # one more look: they were still being written
    assert wait_for_audio(config(tmp_path), (), sleep) == split
    assert len(slept) == 5  # data that is there is used at once


def test_data_that_never_arrives_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "speech").mkdir()
    words = ["train", str(TINY), "--out", str(tmp_path / "run"), "--device", "cpu"]
    words += ["--set", f"data.root={tmp_path / 'speech'}", "--set", "data.watch=0.5s"]
    assert run(words) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert str(tmp_path / "speech") in told and "--set data.watch=1h" in told
    with pytest.raises(CodecError) as caught:
        wait_for_audio(config(tmp_path / "speech", watch=None), ())
    assert "waited" not in str(caught.value)
