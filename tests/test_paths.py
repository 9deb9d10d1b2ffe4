"""Folders that cannot be listed, temporary files of processes that are gone."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, CodecError, evaluate, load_codec, save_audio, save_codec
from audiocodec import temporary as temporary_files
from audiocodec.paths import find_files, replacing, replacing_folder
from audiocodec.runtime import RuntimeCodec
from audiocodec.training.data.files import DataConfig, split_files
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
        split_files(DataConfig(root="in"))
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


KILLED = """
import os, signal, sys
from pathlib import Path
from audiocodec.paths import replacing, replacing_folder

kind = {"file": replacing, "folder": replacing_folder}[sys.argv[1]]
with kind(Path(sys.argv[2])) as temporary:
    (temporary / "half" if temporary.is_dir() else temporary).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left_by_a_killed_process(folder: Path, kind: str = "file") -> Path:
    before = set(folder.iterdir())
    command = [sys.executable, "-c", KILLED, kind, str(folder / "out")]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    (left,) = set(folder.iterdir()) - before
    assert left.name.startswith(".codec-") and left.suffix == ".part"
    return left


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("next_kind", [replacing, replacing_folder])
def test_what_a_killed_process_left_is_swept_away(
    tmp_path: Path, kind: str, next_kind: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    left_by_a_killed_process(tmp_path, kind)
    left_by_a_killed_process(tmp_path, kind)  # which removed the first one
    with next_kind(tmp_path / "next") as temporary:
        assert list(tmp_path.iterdir()) == [temporary]
    assert list(tmp_path.iterdir()) == [tmp_path / "next"]


def test_encode_and_a_checkpoint_sweep_the_folders_that_they_write_into(
    here: Path, model: str, trainable: Codec, codec: RuntimeCodec
) -> None:
    record("in/sub/a.wav")
    for folder in ("tok/sub", "saved"):
        Path(folder).mkdir(parents=True)
        left_by_a_killed_process(here / folder)
    assert run(["encode", "in", "tok", "--model", model]) == 0
    save_codec(trainable, "saved")
    assert not list(here.rglob(".codec-*"))
    left_by_a_killed_process(here / "tok" / "sub")
    temporary_files._sweep.cache_clear()  # as in another process
    assert run(["encode", "in", "tok", "--model", model]) == 0  # with nothing left to do
    assert not list(here.rglob(".codec-*"))


def test_what_may_belong_to_a_living_process_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = temporary_files._sweep.__wrapped__
    prefix = temporary_files._prefix()
    with replacing(tmp_path / "a") as file, replacing_folder(tmp_path / "b") as folder:
        sweep(tmp_path)
        assert file.exists() and folder.exists()
    (tmp_path / ".codec-00000000-1.part").touch()  # of another machine
    for suffix in ("part", "old"):  # killed between two renames: one holds what was there
        (tmp_path / f"{prefix}2.{suffix}").mkdir()
    (tmp_path / f"{prefix}3.old").mkdir()  # killed after them
    sweep(tmp_path)
    stay = [".codec-00000000-1.part", f"{prefix}2.old", f"{prefix}2.part", "a", "b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)

    left = left_by_a_killed_process(tmp_path)

    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    sweep(tmp_path)
    assert left.exists()
    with replacing(tmp_path / "c"):  # which does without
        pass
    assert (tmp_path / "c").exists()


def test_a_temporary_file_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, calls = temporary_files._lock, []

    def swept(path: Path, wait: bool) -> int | None:
        calls.append(path)
        if len(calls) == 1:
            path.unlink()
        return lock(path, wait)

    monkeypatch.setattr(temporary_files, "_lock", swept)
    with replacing(tmp_path / "a") as temporary:
        assert temporary == calls[1] != calls[0]
    assert (tmp_path / "a").exists()


def test_every_writer_keeps_the_file_that_is_locked(tmp_path: Path, trainable: Codec) -> None:
    """A writer that put another file in its place would have it swept away while it writes."""
    from audiocodec.weights import save_weights

    kept: list[bool] = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        descriptor = os.open(source, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept.append(False)
        except OSError:
            kept.append(True)
        os.close(descriptor)
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", watched)
        save_weights(trainable.state_dict(), tmp_path / "a.safetensors")
        save_audio(tmp_path / "a.wav", torch.zeros(1, 100), 16000)
        save_audio(tmp_path / "a.flac", torch.zeros(1, 100), 16000)
        with replacing(tmp_path / "state.pt") as path:
            torch.save({"a": torch.zeros(3)}, path)
        with replacing(tmp_path / "recipe.yaml") as path:
            path.write_text("a: 1")
    assert kept == [True] * 5


def test_a_place_that_is_read_only_is_named_once_for_all_files(
    here: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record("in/a.wav")
    record("in/b.wav")

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        assert run(["encode", "in", "tok", "--model", model]) == 1
    out, err = capsys.readouterr()
    assert "2 failed" in out
    assert err == "error: tok: cannot be made (Read-only file system)\n"
    Path("tok").mkdir()
    monkeypatch.setattr(Path, "touch", refuse)
    assert run(["encode", "in/a.wav", "tok/a.tok", "--model", model]) == 1
    assert capsys.readouterr().err == (
        "error: tok/a.tok: cannot be written (Read-only file system)\n"
    )
    assert not list(Path("tok").iterdir())


def test_a_path_that_cannot_be_looked_at_does_not_stop_the_others(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("a.wav")
    long = "x" * 300 + ".wav"
    assert run(["encode", long, "a.wav", "a.wav/b.wav", "tok/", "--model", model]) == 1
    out, err = capsys.readouterr()
    assert "1 files done" in out
    assert err.splitlines() == [
        f"error: {long}: cannot be read (File name too long)",
        "error: a.wav/b.wav: no such file or folder",
    ]
