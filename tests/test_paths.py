"""Folders that cannot be listed, temporary files of processes that are gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiocodec import CodecError, evaluate, load_codec
from audiocodec.paths import find_files
from audiocodec.training.data import DataConfig, training_files
from audiocodec_cli.main import run


def record(path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 16000)


@pytest.fixture
def locked(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `in` with a folder `in/locked` that cannot be listed, even by root."""
    record("in/a.wav")
    record("in/locked/b.wav")
    scandir = os.scandir

    def refusing(path: Any = ".") -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    return here


LINE = "in/locked: this folder cannot be listed (Permission denied)"


def test_encode_and_decode_do_the_rest_and_fail(
    locked: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["encode", "in", "tok", "--model", model]) == 1
    out, err = capsys.readouterr()
    assert err == f"error: {LINE}\n"
    assert "1 files done" in out and "1 failed" in out
    assert Path("tok/a.tok").is_file()
    Path("tok/locked").mkdir()
    assert run(["decode", "tok", "out", "--model", model]) == 1
    assert Path("out/a.wav").is_file()
    assert "tok/locked: this folder" in capsys.readouterr().err
    assert run(["encode", "in/locked", "none", "--model", model]) == 1
    assert capsys.readouterr().err == f"error: {LINE}\n"


def test_evaluate_does_the_rest_and_fails(
    locked: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = evaluate(load_codec(model), "in", [1], jobs=1)
    assert [row.file for row in result.rows] == ["in/a.wav"]
    assert result.unreadable == {"in/locked": LINE}
    assert run(["evaluate", "in", "-n", "1", "--jobs", "1", "--model", model]) == 1
    assert LINE in capsys.readouterr().out


def test_training_names_the_folder_and_does_not_begin(locked: Path) -> None:
    with pytest.raises(CodecError, match=r"^in/locked: this folder cannot be listed \(Permission"):
        training_files(DataConfig(root="in"))
    with pytest.raises(CodecError, match=r"^in/locked"):
        find_files(Path("in"), {".wav"})


def test_links_in_a_circle_are_followed_once(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in/a.wav")
    Path("in/again").symlink_to(here / "in", target_is_directory=True)
    Path("in/self.wav").symlink_to("self.wav")
    assert run(["encode", "in", "tok", "--model", model]) == 1
    out, err = capsys.readouterr()
    assert "1 files done" in out
    assert err == "error: in/self.wav: cannot be read (Too many levels of symbolic links)\n"
