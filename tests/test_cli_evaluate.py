"""`codec evaluate` prints a table, writes a CSV, and its exit status says what went wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import Codec, CodecConfig, save_audio, save_codec
from audiocodec.evaluation import METRICS, Comparison, Evaluation, Metric, Row
from audiocodec.runtime import RuntimeCodec
from audiocodec_cli.main import run


@pytest.fixture
def audio(tmp_path: Path, speech: torch.Tensor) -> Path:
    save_audio(tmp_path / "speech.wav", speech[0, :, :32_000], 16_000)
    return tmp_path / "speech.wav"


def test_a_table_and_a_csv(
    model: str, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = tmp_path / "scores.csv"
    arguments = ["evaluate", str(audio), "--model", model, "-n", "1,2", "--csv", str(scores)]
    assert run([*arguments, "--jobs", "1", "--device", "cpu"]) == 0
    output = capsys.readouterr()
    assert "PESQ-WB" in output.out
    assert "files: 1" in output.out
    assert "perplexity" in output.out
    assert output.err == ""  # stderr is no terminal: a bar for long work only
    assert len(scores.read_text().splitlines()) == 3


def test_json_is_all_that_stdout_holds(
    model: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(audio), "--model", model, "-n", "2", "--jobs", "1", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["model"] == "small"
    assert len(output["fingerprint"]) == 16
    assert output["results"][0]["num_codebooks"] == 2


def test_with_a_beam_each_number_of_codebooks_has_a_search_of_its_own(
    model: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their scores are those of a run that asks for that number alone."""

    def output(*arguments: str) -> dict[str, object]:
        words = ["evaluate", str(audio), "--model", model, "--jobs", "1", "--json", *arguments]
        assert run(words) == 0
        return json.loads(capsys.readouterr().out)

    wide, alone, greedy = (
        output("-n", "1,2,4", "--beam", "4"),
        output("-n", "2", "--beam", "4"),
        output(),
    )
    assert (wide["beam"], greedy["beam"]) == (4, 1)
    scores = [(result["si_sdr"], result["stoi"]) for result in wide["results"]]
    assert scores[1] == (alone["results"][0]["si_sdr"], alone["results"][0]["stoi"])
    assert scores[2][0] != greedy["results"][-1]["si_sdr"]
    assert "beam 4" in (
        run(["evaluate", str(audio), "--model", model, "-n", "1", "--beam", "4"])
        or capsys.readouterr().out
    )


def test_optional_metrics_are_computed_by_name(
    model: str,
    audio: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    toy = Metric(lambda reconstruction, reference, rate: rate / 2, title="Nyquist", optional=True)
    monkeypatch.setitem(METRICS, "nyquist", toy)
    arguments = ["evaluate", str(audio), "--model", model, "-n", "1", "--jobs", "1"]
    assert run([*arguments, "--metrics", "nyquist", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["nyquist"] == {"mean": 8000.0, "ci95": None, "count": 1}
    pair = ["score", str(audio), str(audio), "--jobs", "1"]
    assert run([*pair, "--metrics", "nyquist"]) == 0
    assert "Nyquist" in capsys.readouterr().out
    assert run(pair) == 0
    assert "Nyquist" not in capsys.readouterr().out
    assert run(["evaluate", "--help"]) == 0
    assert "distill_mos" in capsys.readouterr().out


def test_an_unreadable_file_among_others_is_named_and_fails_the_command(
    model: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (audio.parent / "text.wav").write_text("no audio")
    assert run(["evaluate", str(audio.parent), "--model", model, "-n", "1", "--jobs", "1"]) == 1
    output = capsys.readouterr().out
    assert "PESQ-WB" in output
    assert "text.wav: not an audio file" in output


@pytest.mark.parametrize(
    ("extra", "status", "message"),
    [
        (["-n", "1,x"], 2, "1,3,6,12"),
        (["-n", "0"], 2, "1,3,6,12"),
        (["-n", "999"], 1, "999 codebooks"),
        (["--metrics", "loudness"], 1, "error: metric loudness: does not exist; choose from"),
        (["--csv", "/no/such/folder/scores.csv"], 1, "--csv /no/such/folder/scores.csv"),
    ],
)
def test_a_bad_request_is_one_line(
    model: str,
    audio: Path,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    status: int,
    message: str,
) -> None:
    assert run(["evaluate", str(audio), "--model", model, *extra]) == status
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""
    assert "Traceback" not in output.err


def test_a_missing_path_among_several_is_an_error_line_and_the_rest_is_done(
    model: str, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.wav")
    assert run(["evaluate", str(audio), missing, "--model", model, "-n", "1", "--jobs", "1"]) == 1
    output = capsys.readouterr()
    assert "files: 1" in output.out
    assert output.err == f"error: {missing}: no such file or folder\n"


@pytest.fixture
def models(codec: RuntimeCodec, tmp_path: Path) -> list[str]:
    """Two models of the same name, and one at 8 kHz with three codebooks."""
    settings = codec.config.model_dump(mode="json")
    found = []
    for seed, name in enumerate(("a/model", "b/model", "low")):
        torch.manual_seed(seed)
        if name == "low":
            settings["sample_rate"] = 8000
            settings["quantizer"]["num_codebooks"] = 3
        save_codec(Codec(CodecConfig.from_mapping(settings)), tmp_path / name)
        found.append(str(tmp_path / name))
    return found


def named(models: list[str]) -> list[str]:
    return [word for model in models for word in ("--model", model)]


def test_models_are_compared_on_the_same_files(
    models: list[str], audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_audio(audio.parent / "silence.wav", torch.zeros(1, 16_000), 16_000)
    arguments = ["evaluate", str(audio), str(audio.parent / "silence.wav"), "--jobs", "1"]
    arguments += ["-n", "1,3", *named(models)]
    table = tmp_path / "scores.csv"
    assert run([*arguments, "--json", "--csv", str(table)]) == 0
    output = json.loads(capsys.readouterr().out)
    prints = [each["fingerprint"] for each in output["models"]]
    names = [f"model-{prints[0][:8]}", f"model-{prints[1][:8]}", "low"]
    assert [each["model"] for each in output["models"]] == names
    assert all(each["results"][0]["pesq_wb"]["count"] == 1 for each in output["models"])
    assert len([line for line in output["failures"] if "silence.wav: no PESQ-WB" in line]) == 1
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["fingerprint"]) for row in rows] == [
        pair for pair in zip(names, prints, strict=True) for _ in range(4)
    ]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    lines = [line.split()[:2] for line in out.splitlines()]
    assert [[name, count] for name in names for count in "13"] == [
        line for line in lines if len(line) == 2 and line[0] in names and line[1] in ("1", "3")
    ]
    assert "1 of 2 files have PESQ-WB, " in out
    assert "The models have different sample rates" in out


def test_a_comparison_is_checked_before_anything_is_computed(
    models: list[str], audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(audio), "-n", "4", *named(models)]) == 1
    assert "4 codebooks requested: model low has 1 to 3" in capsys.readouterr().err
    assert run(["evaluate", str(audio), *named([models[0], models[0]])]) == 1
    assert "is the same model as" in capsys.readouterr().err


def test_a_comparison_leaves_out_files_that_one_model_has_no_score_for() -> None:
    def evaluation(model: str, scores: dict[str, float]) -> Evaluation:
        result = Evaluation(model, "", 16_000, "cpu", (1,), ("stoi",), [np.ones(2, np.int64)])
        for file in ("a", "b"):
            row = Row(file, 1.0, 1, num_codebooks=1, encode_factor=0.1, decode_factor=0.1)
            if file in scores:
                row.scores["stoi"] = scores[file]
            result.rows.append(row)
        return result

    both = Comparison([evaluation("x", {"a": 0.5, "b": 0.9}), evaluation("y", {"a": 0.6})])
    first, second = (each["results"][0]["stoi"] for each in both.as_dict()["models"])
    assert (first["mean"], first["count"]) == (0.5, 1)
    assert (second["mean"], second["count"]) == (0.6, 1)
    assert "1 of 2 files have STOI for every model" in both.table()


def test_saved_audio_is_replaced_only_with_overwrite(
    model: str, tmp_path: Path, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, saved = tmp_path / "in", tmp_path / "saved"
    (folder / "deep").mkdir(parents=True)
    save_audio(folder / "deep" / "a.flac", speech[0, :, :16_000], 16_000)
    save_audio(folder / "b.wav", speech[0, :, :24_000], 24_000)
    arguments = ["evaluate", str(folder), "--model", model, "-n", "1,2", "--jobs", "1"]
    arguments += ["--save", str(saved), "--csv", str(tmp_path / "scores.csv")]
    assert run(arguments) == 0
    assert sorted(str(path.relative_to(saved)) for path in saved.rglob("*.wav")) == [
        "reference_16000/b.wav",
        "small/1/b.wav",
        "small/1/deep/a.wav",
        "small/2/b.wav",
        "small/2/deep/a.wav",
    ]
    capsys.readouterr()
    # The saved audio has the scores of the CSV, apart from rounding to 16 bits.
    pair = [str(folder / "deep" / "a.flac"), str(saved / "small/2/deep/a.wav")]
    assert run(["score", *pair, "--jobs", "1", "--json"]) == 0
    stoi = json.loads(capsys.readouterr().out)["scores"]["stoi"]["mean"]
    with (tmp_path / "scores.csv").open(newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["file"] == pair[0] and "2" in r.values())
    assert stoi == pytest.approx(float(row["stoi"]), abs=1e-3)

    before = {path: path.read_bytes() for path in saved.rglob("*.wav")}
    assert run(arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {saved / 'small/1/b.wav'}: is there already; --overwrite")
    assert {path: path.read_bytes() for path in saved.rglob("*.wav")} == before
    assert run([*arguments, "--overwrite"]) == 0


def test_two_files_that_would_be_saved_under_one_path_are_refused(
    model: str, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "speech.flac").write_bytes(b"")
    arguments = ["evaluate", str(tmp_path), "--model", model, "--save", str(tmp_path / "saved")]
    assert run(arguments) == 1
    assert "would be saved as" in capsys.readouterr().err
    assert not (tmp_path / "saved").exists()


def test_the_table_says_on_how_many_threads_the_speed_was_measured(
    model: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for threads, legend in ((1, "one CPU thread"), (2, "2 CPU threads")):
        words = ["evaluate", str(audio), "--model", model, "-n", "1", "--threads", str(threads)]
        assert run(words) == 0
        assert f"times faster than real time, {legend}\n" in capsys.readouterr().out
