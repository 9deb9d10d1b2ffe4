"""`codec encode`, `codec decode`, `codec info`: one file, many files and folders, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, load_audio, load_codec, save_codec
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import TokenFile
from audiocodec_cli.main import run


@pytest.fixture(scope="module")
def trained(codec: RuntimeCodec, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with codebooks initialised on its latents, so that stages code residuals."""
    initialised = Codec(codec.config).eval().requires_grad_(False)
    noise = torch.rand(1, 1, 320 * 400, generator=torch.Generator().manual_seed(0)) - 0.5
    initialised.quantizer.initialise(
        initialised.latents(noise)[0].T, torch.Generator().manual_seed(0)
    )
    folder = tmp_path_factory.mktemp("models") / "initialised"
    save_codec(initialised, folder)
    return str(folder)


def record(path: str, samples: int = 8000, rate: int = 16000, channels: int = 1) -> None:
    audio = np.random.default_rng(samples).uniform(-0.5, 0.5, (samples, channels))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_there_and_back_under_the_names_given_and_by_default(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in.wav", 22050 + 7, 22050, 2)
    original = Path("in.wav").read_bytes()
    assert run(["encode", "in.wav", "--model", model]) == 0
    assert "in.wav -> in.tok: 1.00 s, 4 codebooks, 2.40 kbit/s" in capsys.readouterr().out
    assert run(["decode", "in.tok", "--model", model]) == 0
    assert run(["encode", "in.wav", "out.tok", "--model", model]) == 0
    assert run(["decode", "out.tok", "out.flac", "--model", model]) == 0
    assert tree(here) == ["in.decoded.wav", "in.tok", "in.wav", "out.flac", "out.tok"]
    assert Path("in.tok").read_bytes() == Path("out.tok").read_bytes()
    assert Path("in.wav").read_bytes() == original
    for path in ("in.decoded.wav", "out.flac"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames) == (22050, 2, 22057)


def test_a_folder_is_mirrored_and_what_is_done_is_passed_over(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ("in/a.wav", "in/sub/b.flac", "in/sub/deep/c.WAV"):
        record(path)
    assert run(["encode", "in", "tok", "--model", model]) == 0
    assert "3 files done" in capsys.readouterr().out
    assert tree(here / "tok") == ["a.tok", "sub/b.tok", "sub/deep/c.tok"]
    Path("tok/sub/b.tok").unlink()
    times = {path: path.stat().st_mtime_ns for path in (here / "tok").rglob("*.tok")}
    assert run(["encode", "in", "tok", "--model", model]) == 0
    assert "1 files done" in (out := capsys.readouterr().out)
    assert "2 there already" in out
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert run(["encode", "in", "tok", "--model", model, "--overwrite"]) == 0
    assert "3 files done" in capsys.readouterr().out
    assert run(["decode", "tok", "out", "--model", model]) == 0
    assert tree(here / "out") == ["a.wav", "sub/b.wav", "sub/deep/c.wav"]
    assert run(["decode", "tok", "out", "--model", model]) == 0
    assert "0 files done, 3 there already" in capsys.readouterr().out


def test_many_files_and_folders_go_into_one_folder(here: Path, model: str) -> None:
    for path in ("a.wav", "one/b.wav", "two/b.wav"):
        record(path)
    assert run(["encode", "a.wav", "one", "two/", "tok", "--model", model]) == 0
    assert tree(here / "tok") == ["a.tok", "one/b.tok", "two/b.tok"]
    assert run(["encode", "a.wav", "one/b.wav", "--model", model]) == 0
    assert tree(here / "one") == ["b.tok", "b.wav"]
    Path("out").mkdir()
    assert run(["encode", "a.wav", "out/", "--model", model]) == 0
    assert tree(here / "out") == ["a.tok"]


def test_one_failure_among_many_is_listed_and_the_others_are_done(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ("in/a.wav", "in/c.wav", "in/c.flac"):
        record(path)
    soundfile.write("in/b.wav", np.array([0, np.nan]), 16000, subtype="FLOAT")
    Path("in/d.wav").write_text("no audio")
    assert run(["encode", "in", "missing.wav", "tok", "--model", model]) == 1
    out, err = capsys.readouterr()
    assert "2 files done" in out
    assert "4 failed" in out
    assert err.splitlines() == [
        "error: missing.wav: no such file or folder",
        "error: in/b.wav: a NaN or infinite sample at 0.0 s; repair the file or cut it out",
        "error: in/c.wav: would become tok/in/c.tok, as in/c.flac does; rename one of them",
        "error: in/d.wav: not an audio file that can be read; convert it to WAV or FLAC",
    ]
    assert tree(here / "tok") == ["in/a.tok", "in/c.tok"]


def test_an_output_that_is_there_is_not_replaced_unasked(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in/a.wav")
    record("a.wav")
    assert run(["encode", "in", "tok", "-n", "2", "--model", model]) == 0
    first = Path("tok/a.tok").read_bytes()
    capsys.readouterr()
    assert run(["encode", "in", "tok", "--model", model]) == 1
    message = "error: tok/a.tok: is there already, with 2 codebooks; --overwrite replaces it\n"
    assert capsys.readouterr().err == message
    assert run(["encode", "a.wav", "tok/a.tok", "-n", "2", "--model", model]) == 1
    message = "error: tok/a.tok: is there already; --overwrite replaces it\n"
    assert capsys.readouterr().err == message
    assert Path("tok/a.tok").read_bytes() == first
    assert run(["encode", "a.wav", "tok/a.tok", "--overwrite", "--model", model]) == 0
    assert Path("tok/a.tok").read_bytes() != first


@pytest.mark.parametrize(
    ("given", "codebooks"),
    [("300", 1), ("0.9k", 3), ("1k", 3), ("1200bps", 4), ("100k", 4)],
)
def test_a_bitrate_takes_the_codebooks_that_fit(
    here: Path, model: str, given: str, codebooks: int
) -> None:
    record("in.wav")
    assert run(["encode", "in.wav", "--bitrate", given, "--model", model]) == 0
    with TokenFile("in.tok") as tokens:
        # 64 entries at 50 frames a second: 300 bit/s for each codebook
        assert tokens.header.num_codebooks == codebooks


def test_exact_encodes_in_float64(here: Path, model: str) -> None:
    record("in.wav", 48000)
    assert run(["encode", "in.wav", "--exact", "--model", model]) == 0
    audio, _ = load_audio("in.wav")
    codes = load_codec(model, dtype=torch.float64).encode(audio.double().unsqueeze(1))
    with TokenFile("in.tok") as tokens:
        np.testing.assert_array_equal(tokens.read(), codes.numpy())


def test_a_beam_leaves_less_in_a_file_of_the_same_size(here: Path, trained: str) -> None:
    record("in/a.wav", 16000, channels=2)
    for beam, folder in ((1, "greedy"), (4, "wide")):
        assert run(["encode", "in", folder, "--beam", str(beam), "--model", trained]) == 0
        assert run(["decode", f"{folder}/a.tok", f"{folder}.wav", "--model", trained]) == 0
    assert Path("greedy/a.tok").stat().st_size == Path("wide/a.tok").stat().st_size
    codec = load_codec(trained)
    audio, _ = load_audio("in/a.wav")
    latents = codec.latents(audio.unsqueeze(1))
    with TokenFile("greedy/a.tok") as greedy, TokenFile("wide/a.tok") as wide:
        codes = [torch.from_numpy(tokens.read()) for tokens in (greedy, wide)]
    left = [(codec.tables.decode(c) - latents).square().mean() for c in codes]
    assert left[1] < left[0]
    assert torch.equal(codes[1], codec.encode(audio.unsqueeze(1), beam=4))


def test_json_is_one_object_on_stdout(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in/a.wav", 16000)
    Path("in/b.wav").write_text("no audio")
    assert run(["encode", "in", "tok", "--json", "--model", model]) == 1
    result = json.loads(capsys.readouterr().out)
    (made,) = result["files"]
    assert made["source"] == "in/a.wav"
    assert made["target"] == "tok/a.tok"
    assert (made["num_samples"], made["num_codebooks"], made["bitrate"]) == (16000, 4, 1200)
    assert made["truncated"] is False
    assert result["skipped"] == []
    assert result["failures"] == [
        "in/b.wav: not an audio file that can be read; convert it to WAV or FLAC"
    ]


def test_a_cut_file_is_decoded_with_a_warning_and_exit_code_1(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in.wav", 16000 * 5)
    assert run(["encode", "in.wav", "--model", model]) == 0
    whole = Path("in.tok").read_bytes()
    Path("in.tok").write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert run(["decode", "in.tok", "--model", model]) == 1
    err = capsys.readouterr().err
    assert err.startswith("warning: in.tok: cut short; in.decoded.wav holds the 2.")
    assert soundfile.info("in.decoded.wav").duration > 2
    assert run(["info", "in.tok"]) == 1
    out, err = capsys.readouterr()
    assert "cut short; readable up to the cut" in out
    assert err == "warning: in.tok: cut short; the rest of it is missing\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "none.wav"], "none.wav: no such file or folder"),
        (["encode", "none.wav", "out.tok"], "none.wav: no such file"),
        (["encode", "empty"], "empty: no audio in this folder"),
        (["encode", "text.wav"], "text.wav: not an audio file"),
        (["encode", "in.wav", "empty"], "empty: is a folder; name a file in it"),
        (["encode", "in.wav", "none/out.tok"], "none/out.tok: there is no folder none"),
        (["encode", "in.wav", "in.wav", "text.tok"], "text.tok: is a file; the output of several"),
        (["encode", "in.wav", "-n", "5"], "5 codebooks requested"),
        (["encode", "in.wav", "--bitrate", "100"], "100 bit/s is too little"),
        (["encode", "in.wav", "--model", "none"], "model none: neither a bundled model"),
        (["decode", "none.tok"], "none.tok: no such file"),
        (["decode", "empty"], "empty: no .tok files in this folder"),
        (["decode", "text.tok"], "text.tok: not a .tok file"),
        (["decode", "good.tok", "empty"], "empty: is a folder; name a file in it"),
        (["decode", "good.tok", "out.mp3"], "out.mp3: cannot write `.mp3` audio"),
        (["decode", "good.tok", "-n", "5"], "good.tok: holds 4 codebooks; 5 asked for"),
        (["info", "none.tok"], "none.tok: no such file"),
        (["info", "text.tok"], "text.tok: not a .tok file"),
        (["info", "none"], "model none: neither a bundled model"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    here: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    record("in.wav")
    assert run(["encode", "in.wav", "good.tok", "--model", model]) == 0
    Path("text.wav").write_text("no audio")
    Path("text.tok").write_text("no tokens")
    Path("empty").mkdir()
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    capsys.readouterr()
    own = [] if arguments[0] == "info" or "--model" in arguments else ["--model", model]
    assert run([*arguments, *own]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert out == ""
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode"],
        ["encode", "a.wav", "--bitrate", "fast"],
        ["encode", "a.wav", "--beam", "0"],
        ["decode"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


def test_n_and_bitrate_exclude_each_other() -> None:
    assert run(["encode", "a.wav", "-n", "2", "--bitrate", "1k"]) == 2


def test_info_tells_what_a_file_holds(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in.wav", 44100 * 3, 44100, 2)
    assert run(["encode", "in.wav", "-n", "3", "--model", model]) == 0
    capsys.readouterr()
    assert run(["info", "in.tok"]) == 0
    out = capsys.readouterr().out
    for part in (
        f"small ({load_codec(model).fingerprint})",
        "3.000 s, 44100 Hz, 2 channels",
        "150 frames, 50 a second",
        "3 codebooks of 64 entries",
        "1.8 kbit/s of codes (0.9 each)",
        "whole; every block is good",
    ):
        assert part in out
    assert run(["info", "in.tok", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["num_samples"] == 44100 * 3
    assert facts["bitrate"] == 1800
    assert facts["file_bytes"] == Path("in.tok").stat().st_size
    assert facts["file_bitrate"] == pytest.approx(facts["file_bytes"] * 8 / 3)


def test_info_finds_a_damaged_block(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in.wav", 16000 * 9)
    assert run(["encode", "in.wav", "--model", model]) == 0
    data = bytearray(Path("in.tok").read_bytes())
    data[len(data) // 2] ^= 1
    Path("in.tok").write_bytes(data)
    capsys.readouterr()
    assert run(["info", "in.tok"]) == 1
    assert capsys.readouterr().err.startswith("error: in.tok: damaged at 3.0 s")


def test_info_tells_what_a_model_is(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", model]) == 0
    out = capsys.readouterr().out
    codec = load_codec(model)
    for part in (
        f"small ({codec.fingerprint})",
        "50 frames a second",
        "4 of 64 entries",
        "0.3 0.6 0.9 1.2 kbit/s",
        "strides: [4, 5, 8]",
    ):
        assert part in out
    assert run(["info", model, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["config"] == codec.config.model_dump(mode="json")
    assert facts["bitrates"] == [300, 600, 900, 1200]


@pytest.mark.parametrize("arguments", [["encode", ""], ["decode", ""], ["encode", "in.wav", ""]])
def test_an_empty_path_is_not_the_current_folder(
    here: Path, model: str, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    record("in.wav")
    assert run([*arguments, "--model", model]) == 1
    assert "error: a path is empty" in capsys.readouterr().err
    assert tree(here) == ["in.wav"]
