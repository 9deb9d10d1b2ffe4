"""Other codecs are evaluated beside a model, where their programs are installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import CodecError, save_audio
from audiocodec.evaluation.baselines import SYSTEMS, ogg_packets, parse_baseline
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


@pytest.mark.usefixtures("opus")
def test_a_baseline_has_rows_in_the_same_tables(
    here: Path, model: str, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    save_audio("speech.wav", speech[0, :, 16_000:32_000], 16_000)
    arguments = ["evaluate", "speech.wav", "--model", model, "-n", "2", "--jobs", "1"]
    arguments += ["--baseline", "opus:6k opus:9k", "--csv", "scores.csv"]
    assert run([*arguments, "--report", "report.html", "--save", "saved", "--json"]) == 0
    ours, six, nine = json.loads(capsys.readouterr().out)["models"]
    assert (six["model"], nine["model"]) == ("opus:6k", "opus:9k")
    (result,) = six["results"]
    assert result["payload_kbps"]["mean"] == pytest.approx(8 * 300 / 1000)  # in one second
    assert result["stoi"]["mean"] > 0.999 > ours["results"][0]["stoi"]["mean"]
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.count("data:audio/ogg") == 4  # the reference and three codecs
    assert Path("saved/opus:6k/0/speech.wav").is_file()
    save_audio("silence.wav", torch.zeros(1, 16_000), 16_000)
    assert run(["evaluate", "silence.wav", *arguments[2:-2]]) == 0
    out = capsys.readouterr().out
    assert "small: silence.wav: no PESQ-WB with 2 codebooks: " in out
    assert "opus:6k, opus:9k: silence.wav: no PESQ-WB: " in out
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
        ("mp3:64k", "baseline mp3:64k: no such codec; write opus:6k, speex:4, codec2:3200"),
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
