"""`codec compare` says which evaluations differ, from differences file by file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import CodecError, save_audio
from audiocodec.evaluation import Evaluation, Row
from audiocodec.evaluation.differences import find_differences
from audiocodec.evaluation.systems import read_scores
from audiocodec_cli.main import run


def write(path: str, model: str, stoi: list[float], kbps: float = 1.0, first: int = 0) -> None:
    """A CSV of `codec evaluate` with a STOI for each file and one number of codebooks."""
    metrics = ("stoi", "log_mel_distance")
    result = Evaluation(model, "", 16_000, "cpu", (3,), metrics, [np.ones(2, np.int64)])
    for number, score in enumerate(stoi, first):
        row = Row(f"{number}.wav", 1.0, 1, num_codebooks=3, payload_kbps=kbps, file_kbps=kbps)
        row.scores = {"stoi": score, "log_mel_distance": 5 - score}
        result.rows.append(row)
    result.write_csv(path)


def test_small_differences_in_every_file_are_seen_where_means_overlap(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = np.linspace(0.3, 0.9, 12)
    noise = np.random.default_rng(0).normal(0, 0.001, 12)
    write("a.csv", "old", list(files))
    write("b.csv", "new", list(files + 0.01 + noise), kbps=0.9)
    write("c.csv", "same", list(files + noise - noise.mean()))
    assert run(["compare", "a.csv", "b.csv", "c.csv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["differences"]
    verdicts = {(each["second"], each["first"], each["score"]): each for each in found}
    stoi = verdicts["new", "old", "stoi"]
    assert stoi["verdict"] == "second is better"
    assert stoi["difference"]["mean"] == pytest.approx(0.01, abs=1e-3)
    assert stoi["difference"]["ci95"] < 0.002 < np.std(files) / np.sqrt(12)
    assert verdicts["new", "old", "log_mel_distance"]["verdict"] == "second is better"
    assert verdicts["new", "old", "payload_kbps"]["verdict"] == "second takes less"
    assert verdicts["same", "old", "stoi"]["verdict"] == "not distinguishable"
    assert verdicts["same", "old", "payload_kbps"]["verdict"] == "not distinguishable"
    assert run(["compare", "a.csv", "b.csv"]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if " STOI " in x)
    assert line.split()[:5] == ["3", "STOI", "12", "0.600", "0.610"]
    assert line.endswith("second is better")


def test_only_files_in_common_are_compared_and_that_is_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a.csv", "m", [0.5, 0.6, 0.7])
    write("b.csv", "m", [0.6, 0.8], first=1)
    assert run(["compare", "a.csv", "b.csv"]) == 0
    out, err = capsys.readouterr()
    assert "first: m (a.csv), second: m (b.csv)" in out
    assert (
        err == "warning: m (a.csv) and m (b.csv) with 3 codebooks: 2 files in common, of 3 and 2\n"
    )
    write("c.csv", "m", [0.6, 0.8], first=7)
    with pytest.raises(CodecError, match="no file and number of codebooks in common"):
        find_differences([*read_scores("a.csv"), *read_scores("c.csv")])


def test_another_codec_is_compared_with_each_number_of_codebooks(here: Path) -> None:
    write("a.csv", "ours", [0.5, 0.6, 0.7])
    Path("b.csv").write_text("file,stoi\n0.wav,0.4\n1.wav,0.5\n2.wav,0.6\n")
    (stoi,) = find_differences([*read_scores("a.csv"), *read_scores("b.csv")]).found
    assert (stoi.first, stoi.second, stoi.num_codebooks) == ("ours", "b", 3)
    assert (stoi.score, stoi.verdict) == ("stoi", "first is better")


def test_one_file_has_no_verdict(here: Path) -> None:
    write("a.csv", "a", [0.5])
    write("b.csv", "b", [0.6])
    found = find_differences([*read_scores("a.csv"), *read_scores("b.csv")]).found
    assert {each.verdict for each in found} == {"one file: no interval"}


def test_folders_of_decoded_audio_are_scored_first(
    here: Path, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, noise in (("ref", 0.0), ("clean", 0.001), ("noisy", 0.05)):
        Path(folder).mkdir()
        for name in ("a", "b"):
            start = 16_000 * (1 + (name == "b"))
            audio = speech[0, :, start : start + 16_000]
            save_audio(f"{folder}/{name}.wav", audio + noise * torch.randn(audio.shape), 16_000)
    arguments = ["compare", "--reference", "ref", "clean", "noisy", "--jobs", "1"]
    assert run([*arguments, "--json"]) == 0
    found = {each["score"]: each for each in json.loads(capsys.readouterr().out)["differences"]}
    assert found["si_sdr"]["difference"]["mean"] < -10
    assert found["si_sdr"]["difference"]["count"] == 2
    assert found["si_sdr"]["num_codebooks"] is None


def test_models_are_evaluated_first(
    here: Path, model: str, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ref").mkdir()
    for name in ("a", "b"):
        save_audio(f"ref/{name}.wav", speech[0, :, 16_000:32_000], 16_000)
    shutil.copytree("ref", "clean")
    arguments = ["compare", "--reference", "ref", model, "clean", "-n", "1,4", "--jobs", "1"]
    assert run([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["differences"]
    stoi = [each for each in found if each["score"] == "stoi"]
    assert [each["num_codebooks"] for each in stoi] == [1, 4]
    for each in stoi:
        assert (each["first"], each["second"]) == ("small", "clean")
        assert each["second_mean"] > 0.99 > each["first_mean"]
        assert each["difference"]["count"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,colour\na,red\n", "bad.csv: has no scores; name a file that codec evaluate --csv"),
        ("file,stoi\na,high\n", "bad.csv: not a CSV of scores"),
        ("file,stoi\na,\n", "bad.csv: no file in it has a score"),
        ("file,stoi\na,0.5\n", "one system cannot be compared"),
    ],
)
def test_a_bad_file_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    Path("bad.csv").write_text(content)
    assert run(["compare", "bad.csv"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_folder_without_its_reference_names_the_remedy(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("decoded").mkdir()
    assert run(["compare", "decoded", "none.csv"]) == 1
    assert "name the folder of its references with --reference" in capsys.readouterr().err
    assert run(["compare", "none.csv"]) == 1
    assert "none.csv: cannot be read" in capsys.readouterr().err


SCORES = {"base": (0.0, 0.0), "a": (0.02, 0.01), "b": (0.05, -0.03), "c": (0.01, 0.001)}
"""For each model by how much its STOI and DistillMOS differ from those of the first."""


def write_two_scores(path: str, models: dict[str, tuple[float, float]]) -> None:
    draw = np.random.default_rng(1)
    lines = ["model,fingerprint,file,num_codebooks,stoi,distill_mos,si_sdr"]
    for model, (stoi, mos) in models.items():
        noise = draw.normal(0, 0.003, (2, 20))
        for file in range(20):
            scores = 0.5 + file / 50 + stoi + noise[0, file], 3 + file / 10 + mos + noise[1, file]
            lines.append(f"{model},f-{model},{file}.wav,3,{scores[0]},{scores[1]},{-stoi * 9}")
    Path(path).write_text("\n".join(lines) + "\n")


def test_the_model_that_gains_most_is_chosen_if_none_of_its_scores_falls(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_two_scores("scores.csv", SCORES)
    judged = "stoi,distill_mos"
    assert run(["compare", "scores.csv", "--choose", judged, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    choice = result["choice"]
    assert {each["first"] for each in result["differences"]} == {"base"}
    assert (choice["first"], choice["chosen"]) == ("base", "a")
    a, b, c = choice["candidates"]
    # b gains most by STOI and pays with naturalness.
    assert not a["worse"] and not c["worse"]
    assert len(b["worse"]) == 1 and b["worse"][0].startswith("DistillMOS with 3 (-0.0")
    assert a["gain"] > c["gain"] > 0
    assert run(["compare", "scores.csv", "--choose", judged]) == 0
    text = capsys.readouterr().out
    assert "\n\nchosen: a, judged by STOI, DistillMOS\n" in text
    assert "b: gain " in text and "refused, worse in DistillMOS with 3" in text


def test_the_model_in_use_stays_if_no_other_gains_without_a_loss(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_two_scores("scores.csv", SCORES | {"a": (0.02, -0.03), "c": (-0.01, -0.01)})
    assert run(["compare", "scores.csv", "--choose", "stoi,distill_mos", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["choice"]["chosen"] == "base"
    # A score that the candidates lack cannot fall unseen.
    write_two_scores("first.csv", {"base": (0.0, 0.0)})
    lines = Path("scores.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines if not line.startswith("base,")]
    Path("rest.csv").write_text("\n".join(",".join(row[:5]) for row in rows) + "\n")
    arguments = ["compare", "first.csv", "rest.csv", "--choose", "stoi,distill_mos"]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert out.count("refused, has no DistillMOS") == 3
    assert run(["compare", "scores.csv", "--choose", "pesq_wb"]) == 1
    assert "has no pesq_wb of two files or more" in capsys.readouterr().err
