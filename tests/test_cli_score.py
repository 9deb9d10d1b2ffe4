"""`codec score` scores pairs of files of any codec, and lists the files without a partner."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import save_audio
from audiocodec.evaluation import score_files, score_pair
from audiocodec_cli.main import run


@pytest.fixture
def folders(here: Path, speech: torch.Tensor) -> Path:
    """Pairs that are noisy, delayed and of another sample rate, and one unpaired file of each."""
    clean = speech[0, :, :32_000]
    noisy = clean + 0.01 * torch.randn(clean.shape)
    for folder in ("ref/deep", "dec/deep"):
        Path(folder).mkdir(parents=True)
    save_audio("ref/deep/a.flac", clean, 16_000)
    save_audio("dec/deep/a.wav", noisy, 16_000)
    save_audio("ref/delayed.wav", clean, 16_000)
    save_audio("dec/delayed.wav", torch.nn.functional.pad(noisy, (320, 0)), 16_000)
    save_audio("ref/rate.wav", clean, 16_000)
    save_audio("dec/rate.wav", noisy.repeat_interleave(3, dim=-1), 48_000)
    save_audio("ref/alone.wav", clean, 16_000)
    save_audio("dec/stray.wav", clean, 16_000)
    return here


def test_pairs_are_scored_as_evaluate_scores(folders: Path) -> None:
    result = score_files("ref", "dec")
    rows = {Path(row.file).stem: row for row in result.rows}
    assert sorted(rows) == ["a", "delayed", "rate"]
    from audiocodec import load_audio

    reference, reconstruction = (
        load_audio(f)[0].numpy() for f in ("ref/deep/a.flac", "dec/deep/a.wav")
    )
    _, scores, _ = score_pair(reconstruction, reference, 16_000)
    assert rows["a"].scores == scores
    assert (rows["delayed"].lag_samples, rows["a"].lag_samples) == (320, 0)
    # The decoded file is complete and delayed by 20 ms, so nothing is lost at the end.
    assert rows["delayed"].scores["si_sdr"] == pytest.approx(scores["si_sdr"], abs=0.01)
    assert rows["delayed"].scores["si_sdr_raw"] < 0
    assert (rows["rate"].sample_rate, rows["rate"].decoded_sample_rate) == (16_000, 48_000)
    assert rows["rate"].scores["stoi"] == pytest.approx(scores["stoi"], abs=0.05)


def test_table_csv_and_errors(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "ref", "dec", "--csv", "scores.csv", "--jobs", "1"]) == 1
    out, err = capsys.readouterr()
    assert "dec against ref, files: 3, 6.0 s at 16000 Hz" in out
    assert "PESQ-WB" in out
    assert "0.0 to 20.0 ms, median 0.0 ms" in out
    assert err.splitlines() == [
        "error: ref/alone.wav: no decoded file dec/alone.* for it",
        "error: dec/stray.wav: no reference ref/stray.* for it",
    ]
    with Path("scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["decoded"] for row in rows] == ["dec/deep/a.wav", "dec/delayed.wav", "dec/rate.wav"]
    assert float(rows[0]["pesq_wb"]) > 1


def test_json_and_two_files(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "ref/deep/a.flac", "dec/deep/a.wav", "--json", "--jobs", "1"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["files"], output["seconds"], output["failures"]) == (1, 2.0, [])
    assert output["scores"]["pesq_wb"]["count"] == 1


def test_lengths_that_differ_by_more_than_100_ms_are_a_warning(
    here: Path, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    save_audio("ref.wav", speech[0, :, :32_000], 16_000)
    save_audio("short.wav", speech[0, :, :16_000], 16_000)
    save_audio("near.wav", speech[0, :, :31_000], 16_000)
    assert run(["score", "ref.wav", "short.wav", "--jobs", "1"]) == 0
    assert capsys.readouterr().err == (
        "warning: short.wav: lasts 1.00 s, ref.wav 2.00 s; only what both have is scored\n"
    )
    assert run(["score", "ref.wav", "near.wav", "--jobs", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "100.0" in out  # SI-SDR of a perfect copy is limited to 100 dB


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ref", "none"], "none: no such file or folder"),
        (["ref.wav", "dec"], "ref.wav: is a file and dec a folder"),
        (["ref", "stereo.wav"], "stereo.wav: is a file and ref a folder"),
        (["ref.wav", "stereo.wav"], "nothing could be scored; the first failure: stereo.wav: ch"),
        (["ref", "dec"], "nothing could be scored; the first failure: ref/x.wav: no decoded file"),
    ],
)
def test_mistakes_are_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    for name, channels in (("ref.wav", 1), ("stereo.wav", 2), ("ref/x.wav", 1), ("dec/y.wav", 1)):
        Path(name).parent.mkdir(exist_ok=True)
        noise = np.random.uniform(-0.1, 0.1, (channels, 8000))
        save_audio(name, torch.from_numpy(noise), 16_000)
    assert run(["score", *arguments, "--jobs", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_two_decoded_files_for_one_reference_are_an_error(
    here: Path, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ref/a.wav", "dec/a.flac", "dec/a.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        save_audio(name, speech[0, :, :16_000], 16_000)
    assert run(["score", "ref", "dec", "--jobs", "1"]) == 1
    assert "error: dec/a.wav: dec/a.flac has the same name" in capsys.readouterr().err
