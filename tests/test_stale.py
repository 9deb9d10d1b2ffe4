"""Encoding a folder again skips existing outputs and reports the stale ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.audio import reader as audio
from audiocodec.tokens import TokenFile
from audiocodec_cli.main import run


def record(path: str, seconds: float = 1.0, rate: int = 16000, channels: int = 1) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate), channels))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)


def older(*paths: str) -> None:
    """As if they were written an hour ago."""
    for path in paths:
        time = os.stat(path).st_mtime - 3600
        os.utime(path, (time, time))


@pytest.mark.parametrize(
    ("seconds", "rate", "channels", "change"),
    [
        (4.0, 16000, 1, "1.00 s, now 4.00 s"),
        (0.5, 32000, 1, "16000 Hz, 1 channels; now 32000 Hz, 1 channels"),
        (1.0, 16000, 2, "16000 Hz, 1 channels; now 16000 Hz, 2 channels"),
    ],
)
def test_a_replaced_recording_is_not_passed_over(
    here: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
    seconds: float,
    rate: int,
    channels: int,
    change: str,
) -> None:
    record("in/a.wav")
    record("in/b.wav")
    assert run(["encode", "in", "tok", "--model", model]) == 0
    before = Path("tok/a.tok").read_bytes()
    record("in/a.wav", seconds, rate, channels)
    older("in/a.wav")  # as `mv` and `cp -p` leave it
    capsys.readouterr()
    assert run(["encode", "in", "tok", "--model", model]) == 1
    out, err = capsys.readouterr()
    assert err == (
        f"error: tok/a.tok: made from an earlier in/a.wav ({change}); "
        "--overwrite encodes it again\n"
    )
    assert "1 there already" in out
    assert Path("tok/a.tok").read_bytes() == before
    assert run(["encode", "in", "tok", "--overwrite", "--model", model]) == 0
    with TokenFile("tok/a.tok") as tokens:
        assert tokens.seconds == seconds
    assert run(["encode", "in", "tok", "--model", model]) == 0


def test_a_recording_that_is_newer_than_its_tokens_is_not_passed_over(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in/a.wav")
    assert run(["encode", "in", "tok", "--model", model]) == 0
    older("tok/a.tok")
    capsys.readouterr()
    assert run(["encode", "in", "tok", "--model", model]) == 1
    assert capsys.readouterr().err == (
        "error: tok/a.tok: older than in/a.wav; --overwrite encodes it again\n"
    )


def test_many_replaced_recordings_are_one_line(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"in/{number}.wav" for number in range(5)]
    for name in names:
        record(name, 0.1)
    assert run(["encode", "in", "tok", "--model", model]) == 0
    for name in names:
        record(name, 0.2)
    capsys.readouterr()
    assert run(["encode", "in", "tok", "--model", model]) == 1
    out, err = capsys.readouterr()
    assert err == (
        "error: 5 token files were made from earlier recordings (tok/0.tok, tok/1.tok, tok/2.tok, "
        "...); --overwrite encodes them again\n"
    )
    assert "5 failed" in out


def test_a_length_that_a_header_only_estimates_makes_nothing_stale(
    here: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record("in/a.wav", 2.0)
    assert run(["encode", "in", "tok", "--model", model]) == 0
    read_header = audio.AudioReader.__init__

    def estimate(self: audio.AudioReader, *arguments: object, **named: object) -> None:
        read_header(self, *arguments, **named)  # type: ignore[arg-type]
        self.info = audio.AudioInfo(16000, 1, 30000)

    monkeypatch.setattr(audio.AudioReader, "__init__", estimate)
    assert run(["encode", "in", "tok", "--model", model]) == 0
    assert "1 there already" in capsys.readouterr().out


def test_decode_does_not_pass_over_a_replaced_token_file(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("in/a.wav", "in/b.wav"):
        record(name)
    assert run(["encode", "in", "tok", "--model", model]) == 0
    assert run(["decode", "tok", "out", "--model", model]) == 0
    record("in/a.wav", 4.0)
    assert run(["encode", "in", "tok", "--overwrite", "--model", model]) == 0
    older("tok/a.tok", "tok/b.tok", "out/b.wav", "out/b.wav")
    capsys.readouterr()
    assert run(["decode", "tok", "out", "--model", model]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: out/a.wav: made from an earlier tok/a.tok (1.00 s, now 4.00 s); "
        "--overwrite decodes it again",
        "error: out/b.wav: older than tok/b.tok; --overwrite decodes it again",
    ]
    assert run(["decode", "tok", "out", "--overwrite", "--model", model]) == 0
    assert run(["decode", "tok", "out", "--model", model]) == 0


@pytest.fixture
def recordings(here: Path) -> list[str]:
    """Of a second and a bit, of less than is looked at, and of nothing."""
    record("in/a.wav", 1.2, 22050, 2)
    record("in/b.wav", 0.3)
    record("in/c.wav", 0.0)
    record("in/d.wav", 0.01)
    return sorted(path.name[0] for path in Path("in").iterdir())


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_fewer_codebooks_are_cut_from_the_files_and_only_with_overwrite(
    recordings: list[str],
    model: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = ["--model", model]
    assert run(["encode", "in", "two", "-n", "2", *own]) == 0
    assert run(["encode", "in", "tok", *own]) == 0
    before = files("tok")
    capsys.readouterr()
    assert run(["encode", "in", "tok", "-n", "2", *own]) == 1
    assert capsys.readouterr().err == (
        "error: 4 files hold 4 codebooks, 2 asked for (tok/a.tok, tok/b.tok, tok/c.tok, ...); "
        "--overwrite cuts them down\n"
    )
    assert files("tok") == before

    def encodes(*_: object) -> None:
        raise AssertionError("encoded")

    with monkeypatch.context() as patch:
        patch.setattr("audiocodec.files.encode_file", encodes)
        assert run(["encode", "in", "tok", "-n", "2", "--overwrite", *own]) == 0
    assert "4 files done" in (out := capsys.readouterr().out)
    assert "4 of them cut from the codes that were there" in out
    assert files("tok") == files("two")

    assert run(["encode", "in", "tok", "-n", "3", *own]) == 1
    assert capsys.readouterr().err == (
        "error: 4 files hold 2 codebooks, 3 asked for (tok/a.tok, tok/b.tok, tok/c.tok, ...); "
        "--overwrite replaces them\n"
    )
    assert run(["encode", "in", "tok", "-n", "3", "--overwrite", *own]) == 0
    assert "cut from" not in capsys.readouterr().out
    assert run(["encode", "in/a.wav", "tok/a.tok", "-n", "2", *own]) == 1
    assert capsys.readouterr().err == (
        "error: tok/a.tok: holds 3 codebooks, 2 asked for; --overwrite cuts it down\n"
    )
    assert run(["encode", "in/a.wav", "tok/a.tok", "-n", "2", "--overwrite", *own]) == 0
    assert "cut from the codes that were there" in capsys.readouterr().out
    assert Path("tok/a.tok").read_bytes() == files("two")["a.tok"]


@pytest.mark.parametrize("change", ["beam", "replaced", "damaged", "cut short", "older"])
def test_what_encoding_would_not_give_is_not_cut_but_encoded(
    recordings: list[str], model: str, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    own = ["--model", model]
    assert run(["encode", "in", "tok", *own]) == 0
    path = Path("tok/a.tok")
    if change == "beam":
        assert run(["encode", "in", "tok", "--beam", "8", "--overwrite", *own]) == 0
    elif change == "replaced":
        record("in/a.wav", 2.0, 22050, 2)
    elif change == "damaged":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif change == "cut short":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        older("tok/a.tok")
    capsys.readouterr()
    assert run(["encode", "in", "tok", "-n", "2", "--overwrite", *own]) == 0
    assert run(["encode", "in", "two", "-n", "2", *own]) == 0
    assert files("tok") == files("two")


def test_with_a_beam_or_exact_nothing_is_cut(
    recordings: list[str], model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--model", model]
    assert run(["encode", "in", "tok", *own]) == 0
    for option in (["--beam", "4"], ["--exact"]):
        assert run(["encode", "in", "tok", "-n", "2", *option, "--overwrite", *own]) == 0
        assert "cut from" not in capsys.readouterr().out
        assert run(["encode", "in", "tok", "--overwrite", *own]) == 0
