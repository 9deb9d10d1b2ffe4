"""Other codecs are evaluated beside a model, where their programs are installed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import CodecError, save_audio
from audiocodec.audio import audio_info
from audiocodec.evaluation.baselines import parse_baseline
from audiocodec.evaluation.programs import SYSTEMS, ProgramBaseline, ogg_packets
from audiocodec_cli.main import run

# Programs that stand in for opusenc and opusdec: the coded file has an Ogg page with two header
# packets and one of 300 bytes; the decoder gives the input back.
ENCODER = """#!/usr/bin/env python3
import sys
from pathlib import Path
packets = [bytes(10), bytes(20), bytes(300)]
lacing = bytes([10, 20, 255, 45])
page = b"OggS" + bytes(22) + bytes([len(lacing)]) + lacing + b"".join(packets)
Path(sys.argv[-1]).write_bytes(page)
"""
DECODER = "#!/bin/sh\ncp in.wav out.wav\n"


@pytest.fixture
def opus(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = here / "programs"
    programs.mkdir()
    for name, text in (("opusenc", ENCODER), ("opusdec", DECODER)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/local/bin:/usr/bin:/bin")


def folder_of_outputs(folder: Path, audio: torch.Tensor, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_audio(folder / name, 0.9 * audio, 16_000)


@pytest.mark.usefixtures("opus")
def test_a_baseline_has_rows_in_the_same_tables(
    here: Path, model: str, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    save_audio("speech.wav", speech[0, :, 16_000:32_000], 16_000)
    arguments = ["evaluate", "speech.wav", "--model", model, "-n", "2", "--jobs", "1"]
    folder_of_outputs(Path("by x"), speech[0, :, 16_000:32_000], ["1k/speech.flac"])
    arguments += ["--baseline", "opus:6k 'x-folder:by x/1k@1k'", "--csv", "scores.csv"]
    assert run([*arguments, "--report", "report.html", "--save", "saved", "--json"]) == 0
    ours, six, x = json.loads(capsys.readouterr().out)["models"]
    assert (six["model"], x["model"]) == ("opus:6k", "x:1k")
    (result,) = six["results"]
    assert result["payload_kbps"]["mean"] == pytest.approx(8 * 300 / 1000)  # in one second
    assert result["stoi"]["mean"] > 0.999 > ours["results"][0]["stoi"]["mean"]
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.count("data:audio/ogg") == 4  # the reference and three codecs
    assert "x:1k: decoded files of a folder; kbps as stated there" in page
    assert Path("saved/opus:6k/0/speech.wav").is_file()
    save_audio("silence.wav", torch.zeros(1, 16_000), 16_000)
    assert run(["evaluate", "silence.wav", *arguments[2:9], "opus:6k"]) == 0
    out = capsys.readouterr().out
    assert "small: silence.wav: no PESQ-WB with 2 codebooks: " in out
    assert "opus:6k: silence.wav: no PESQ-WB: " in out
    assert run(["compare", "scores.csv"]) == 0
    out = capsys.readouterr().out
    assert "first: small, second: opus:6k" in out
    assert "second is better" not in out  # one file has no interval


def test_one_that_is_not_installed_is_skipped_by_name(
    here: Path,
    model: str,
    speech: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_audio("speech.wav", speech[0, :, 16_000:32_000], 16_000)
    monkeypatch.setenv("PATH", str(here))
    arguments = ["evaluate", "speech.wav", "--model", model, "-n", "2", "--jobs", "1"]
    assert run([*arguments, "--baseline", "codec2:3200"]) == 0
    out, err = capsys.readouterr()
    assert "PESQ-WB" in out
    line = "warning: codec2:3200: skipped, there is no program c2enc; apt-get install codec2\n"
    assert err == line


@pytest.mark.parametrize("name", [f"{name}:{each.example}" for name, each in SYSTEMS.items()])
def test_the_real_programs_keep_the_length(name: str, speech: torch.Tensor) -> None:
    baseline = parse_baseline(name)
    assert isinstance(baseline, ProgramBaseline)
    if baseline.missing:
        pytest.skip(baseline.missing)
    audio = speech[0, 0, 16_000:48_000].numpy()
    coded = baseline.code(audio)
    assert coded.reconstruction.shape == audio.shape
    assert 0.5 < np.std(coded.reconstruction) / np.std(audio) < 2
    assert 1 < 8e-3 * coded.payload_bytes / 2 < 16
    assert coded.payload_bytes <= coded.file_bytes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mp3:64k", "baseline mp3:64k: no such codec; write opus:6k, speex:4, codec2:3200, or "),
        ("opus", "baseline opus: opus has no such setting; write for example opus:6k"),
        ("codec2:9", "codec2 has no such setting; write for example codec2:3200"),
    ],
)
def test_a_bad_name_is_one_line(text: str, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        parse_baseline(text)


def test_packets_are_counted_across_pages() -> None:
    def page(lacing: list[int]) -> bytes:
        return b"OggS" + bytes(22) + bytes([len(lacing), *lacing]) + bytes(sum(lacing))

    assert list(ogg_packets(page([255, 255]) + page([5, 0, 7]))) == [515, 0, 7]


# Decoded files of another codec, in a folder.


def test_decoded_files_in_a_folder_are_a_baseline_with_their_bitrate(
    here: Path, model: str, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = speech[0, :, 16_000:32_000]
    folder_of_outputs(Path("in"), audio, ["a/1.wav", "b/1.wav"])
    for rate in ("1.5k", "6k"):
        folder_of_outputs(Path("by encodec", rate), audio, ["a/1.flac", "b-1.wav"])
    Path("by encodec/6k/bitrates.csv").write_text("file,bytes\na/1.flac,700\nb-1,800\n")
    arguments = ["evaluate", "in", "--model", model, "-n", "2", "--jobs", "1", "--csv", "s.csv"]
    arguments += ["--baseline", "'encodec-folder:by encodec/1.5k@1.5k' 'folder:by encodec/6k'"]
    assert run([*arguments, "--json"]) == 0
    _, low, high = json.loads(capsys.readouterr().out)["models"]
    assert (low["model"], high["model"]) == ("encodec:1.5k", "6k")
    assert low["results"][0]["payload_kbps"]["mean"] == 1.5
    assert high["results"][0]["payload_kbps"]["mean"] == pytest.approx(8 * 750 / 1000)
    assert low["results"][0]["stoi"]["mean"] > 0.999
    assert low["results"][0]["encode_factor"] is None
    assert run(["compare", "s.csv"]) == 0
    assert "second: encodec:1.5k" in capsys.readouterr().out


def test_a_folder_that_does_not_fit_says_so(
    here: Path, model: str, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = speech[0, :, 16_000:32_000]
    folder_of_outputs(Path("in"), audio, ["a/1.wav", "b/1.wav", "c/2.wav", "c/3.wav"])
    folder_of_outputs(Path("out"), audio, ["1.wav", "3.wav"])
    save_audio("out/3.wav", audio[:, :8_000], 16_000)
    arguments = ["evaluate", "in", "--model", model, "-n", "2", "--jobs", "1", "--baseline"]
    assert run([*arguments, "folder:out"]) == 1
    out, err = capsys.readouterr()
    assert re.search(r"^out +-  +-  +- ", out, re.MULTILINE)  # no kbps is stated
    assert "in/b/1.wav: out/1.wav belongs to in/a/1.wav already" in err
    assert "in/c/2.wav: no decoded file out/2.* for it" in err
    assert "out/3.wav: lasts 0.50 s, and in/c/3.wav 1.00 s" in err
    assert run([*arguments, "folder:nowhere"]) == 1
    assert run([*arguments, "folder:out x-folder:out folder:in/../out"]) == 1
    assert "another one is called out too; write it with a name" in capsys.readouterr().err
    Path("out/bitrates.csv").write_text("name,bytes\n1,2\n")
    assert run([*arguments, "folder:out"]) == 1
    assert "out/bitrates.csv: each line needs a file, and its bytes" in capsys.readouterr().err


def test_flat_folders_have_equal_names_and_lists_as_other_tools_read_them(
    here: Path, model: str, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = speech[0, :, 16_000:32_000]
    folder_of_outputs(Path("in"), audio, ["a/1 x.flac", "2.wav"])
    save_audio("in/low.wav", audio[:, ::2], 8_000)
    arguments = ["evaluate", "in", "--model", model, "-n", "1,2", "--jobs", "1", "--flat"]
    assert run(arguments) == 1
    assert "--flat: says how audio is saved; name a folder with --save" in capsys.readouterr().err
    assert run([*arguments, "--save", "pairs"]) == 0
    names = {"2.wav", "a-1_x.wav", "low.wav", "wav.scp"}
    for folder in ("ref", "decoded/small_1", "decoded/small_2"):
        assert {path.name for path in Path("pairs", folder).iterdir()} == names
    lines = Path("pairs/decoded/small_2/wav.scp").read_text().splitlines()
    keys, paths = zip(*(line.split(maxsplit=1) for line in lines), strict=True)
    assert keys == ("2", "a-1_x", "low")
    assert [Path(path).stem for path in paths] == list(keys)
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in paths)
    assert audio_info("pairs/ref/low.wav").sample_rate == 8_000
    # What was saved is a baseline in turn.
    capsys.readouterr()
    again = ["evaluate", "in", "--model", model, "-n", "2", "--jobs", "1", "--json", "--baseline"]
    assert run([*again, "saved-folder:pairs/decoded/small_2"]) == 0
    ours, saved = json.loads(capsys.readouterr().out)["models"]
    expected = ours["results"][0]["log_mel_distance"]["mean"]
    assert saved["results"][0]["log_mel_distance"]["mean"] == pytest.approx(expected, rel=0.02)


@pytest.mark.usefixtures("opus")
def test_probe_measures_other_codecs_beside_the_model(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["probe", "--model", model, "-n", "2", "--noise-clips", "1", "--baseline", "opus:6k"]
    assert run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    silence, noise = told["tables"]
    assert [row[0] for row in silence["rows"]] == ["small, 0.6 kbps", "opus:6k"]
    assert silence["rows"][1][1:] == ["-160", "1.00", *["+0.0"] * 6]
    assert len(noise["rows"]) == 3 * 2
    folder_of_outputs(Path("out"), torch.zeros(1, 16_000), ["1.wav"])
    assert run(["probe", "--model", model, "--baseline", "folder:out"]) == 1
    assert "decoded files are no codec to probe" in capsys.readouterr().err
