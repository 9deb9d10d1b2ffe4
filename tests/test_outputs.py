"""What the output of encode and decode is: a file or a folder, by its name; and lists of inputs."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec_cli.main import run


def record(path: str, samples: int = 800) -> None:
    audio = np.random.default_rng(samples).uniform(-0.5, 0.5, samples)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, 16000)


def tree(folder: str) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


@pytest.fixture
def clips(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> Path:
    """`clips/a.wav`, `clips/sub/a.wav` and the tokens of both in `toks`."""
    record("clips/a.wav", 800)
    record("clips/sub/a.wav", 900)
    assert run(["encode", "clips", "toks", "--model", model]) == 0
    capsys.readouterr()
    return here


FOLDER = "the output of several files is a folder, but "


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "clips/a.wav", "x.npy"], "x.npy: not a .tok file; name it x.tok"),
        (["encode", "clips/a.wav", "x.WAV.json"], "x.WAV.json: not a .tok file; name it x.WAV.tok"),
        (
            ["encode", "clips/a.wav", "out"],
            "out: a file or a folder? name it out.tok, or out/ for a folder",
        ),
        (
            ["encode", "clips/a.wav", "take.2"],
            "take.2: a file or a folder? name it take.2.tok, or take.2/ for a folder",
        ),
        (
            ["encode", "clips", "out.parquet"],
            f"out.parquet: {FOLDER}`.parquet` names a file; write out, or out.parquet/ if the "
            "folder is to be called so",
        ),
        (["encode", "clips", "out.tok"], f"out.tok: {FOLDER}`.tok` names a file; write out, or"),
        (["encode", "clips/a.wav", "clips/sub/a.wav", "out.zip"], f"out.zip: {FOLDER}`.zip`"),
        (["encode", "clips/a.wav", "none/a.tok"], "none/a.tok: there is no folder none"),
        (
            ["encode", "clips", "clips/a.wav/out"],
            "clips/a.wav/out: cannot be made (Not a directory)",
        ),
        (["encode", "-", "out.npz"], "out.npz: not a .tok file; name it out.tok"),
        (["encode", "-", "out/"], "out/: is a folder, and stdin has no name; name a file in it"),
        (
            ["decode", "toks/a.tok", "out.mp3"],
            "out.mp3: cannot write `.mp3` audio; name it out.wav or out.flac",
        ),
        (
            ["decode", "toks/a.tok", "out"],
            "out: a file or a folder? name it out.wav or out.flac, or out/ for a folder",
        ),
        (["decode", "toks", "out.wav"], f"out.wav: {FOLDER}`.wav` names a file"),
        (["decode", "-", "out"], "out: a file or a folder? name it out.wav or out.flac"),
    ],
)
def test_an_output_that_is_named_like_something_else_is_refused(
    clips: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    before = tree(".")
    assert run([*arguments, "--model", model]) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert tree(".") == before
    assert sorted(path.name for path in clips.iterdir()) == ["clips", "toks"]


def test_a_slash_means_a_folder_and_so_does_a_folder_that_is_there(clips: Path, model: str) -> None:
    assert run(["encode", "clips/a.wav", "one.npy/", "--model", model]) == 0
    assert run(["encode", "clips", "many.tok/", "--model", model]) == 0
    assert run(["encode", "clips", "many.tok", "--model", model]) == 0
    assert run(["decode", "many.tok", "back.wav/", "--model", model]) == 0
    assert tree("one.npy") == ["a.tok"]
    assert tree("many.tok") == ["a.tok", "sub/a.tok"]
    assert tree("back.wav") == ["a.wav", "sub/a.wav"]
    assert run(["encode", "clips", "run.v2", "--model", model]) == 0  # no kind of file
    assert tree("run.v2") == ["a.tok", "sub/a.tok"]


def test_decoded_audio_never_takes_the_place_of_the_recording_beside_the_tokens(
    clips: Path, model: str
) -> None:
    before = Path("clips/a.wav").read_bytes()
    assert run(["encode", "clips", "clips", "--model", model]) == 0
    for output in ("clips", "clips/", "clips/../clips"):
        assert run(["decode", "clips", output, "--overwrite", "--model", model]) == 0
    assert run(["decode", "clips/a.tok", "clips/", "--overwrite", "--model", model]) == 0
    assert Path("clips/a.wav").read_bytes() == before
    assert tree("clips") == [
        "a.decoded.wav",
        "a.tok",
        "a.wav",
        *(f"sub/{name}" for name in ("a.decoded.wav", "a.tok", "a.wav")),
    ]


def test_a_file_that_is_given_twice_is_done_once(
    clips: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["encode", "clips/a.wav", "./clips/a.wav", "new/", "--model", model]
    assert run(words) == 0
    assert "1 files done" in capsys.readouterr().out
    words = ["encode", "clips/a.wav", "clips/sub/a.wav", "both/", "--model", model]
    assert run(words) == 1
    assert capsys.readouterr().err == (
        "error: clips/sub/a.wav: would become both/a.tok, as clips/a.wav does; rename one of them\n"
    )


def test_a_list_of_files_is_encoded_into_their_tree(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["s/one/a b.wav", "s/two/a b.wav", "s/#c.wav", "s/missing.wav", " s/d.wav"]
    for number, name in enumerate(names):
        if "missing" not in name:
            record(name, 800 + number)
    Path(" s/d.wav").rename("s/d.wav ")
    names[-1] = "s/d.wav "
    Path("list.txt").write_text("\r\n".join([*names[:3], "", *names[3:], "./s/one/a b.wav"]))
    assert run(["encode", "--files-from", "list.txt", "tok", "--model", model]) == 1
    out, err = capsys.readouterr()
    assert "4 files done" in out and "1 failed" in out
    assert err == "error: s/missing.wav: no such file or folder\n"
    assert tree("tok") == ["#c.tok", "d.tok", "one/a b.tok", "two/a b.tok"]

    Path("toks.txt").write_text("tok/one/a b.tok\ntok/d.tok\n")
    assert run(["decode", "--files-from", "toks.txt", "back", "--model", model]) == 0
    assert tree("back") == ["d.wav", "one/a b.wav"]
    assert run(["decode", "--files-from", "toks.txt", "--model", model]) == 0
    assert Path("tok/one/a b.decoded.wav").is_file()


def test_a_list_may_come_from_stdin_name_folders_and_hold_one_file(
    here: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record("s/deep/a.wav")
    record("s/b.wav")

    def listed(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    listed("s/deep\ns/b.wav\n")
    assert run(["encode", "--files-from", "-", "tok", "--model", model]) == 0
    assert tree("tok") == ["b.tok", "deep/a.tok"]
    capsys.readouterr()
    listed(f"{here}/s/deep/a.wav")
    assert run(["encode", "--files-from", "-", "one", "--json", "--model", model]) == 0
    (made,) = json.loads(capsys.readouterr().out)["files"]
    assert made["target"] == "one/a.tok"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--files-from", "none.txt"], 1, "error: none.txt: cannot be read (No such file"),
        (["--files-from", "."], 1, "error: .: cannot be read (Is a directory)"),
        (["--files-from", "blank.txt"], 1, "error: blank.txt: names no files; write one path a"),
        (["--files-from", "a.wav"], 1, "error: a.wav: is no list of files; write one path a line"),
        (["--files-from", "blank.txt", "a.wav", "out"], 2, "give only a folder as OUT"),
        (["--files-from", "blank.txt", "-"], 2, "give only a folder as OUT"),
        (["--files-from", "list.txt", "out.npy"], 1, "error: out.npy: the output of several"),
        ([], 2, "Missing argument 'IN... [OUT]'"),
    ],
)
@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_a_mistake_with_lists_is_one_line(
    here: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    arguments: list[str],
    status: int,
    words: str,
) -> None:
    record("a.wav")
    Path("blank.txt").write_text("\n \n")
    Path("list.txt").write_text("a.wav\n")
    assert run([verb, *arguments, "--model", model]) == status
    assert words in capsys.readouterr().err


def test_a_file_that_goes_away_before_its_turn_is_a_failure(
    clips: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from audiocodec.batch import plan as batch

    planned = batch.plan_jobs

    def plan(*arguments: object, **named: object) -> batch.Plan:
        made = planned(*arguments, **named)  # type: ignore[arg-type]
        Path("clips/sub/a.wav").unlink()
        return made

    monkeypatch.setattr(batch, "plan_jobs", plan)
    assert run(["encode", "clips", "new", "--model", model]) == 1
    out, err = capsys.readouterr()
    assert "1 files done" in out and "1 failed" in out
    assert err == "error: clips/sub/a.wav: no such file\n"
