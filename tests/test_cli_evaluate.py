"""`codec evaluate` prints a table, writes a CSV, and its exit status says what went wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from audiocodec import save_audio
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
    told = capsys.readouterr()
    assert "PESQ-WB" in told.out
    assert "files: 1" in told.out
    assert "perplexity" in told.out
    assert told.err == ""  # stderr is no terminal: a bar for long work only
    assert len(scores.read_text().splitlines()) == 3


def test_json_is_all_that_stdout_holds(
    model: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(audio), "--model", model, "-n", "2", "--jobs", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "small"
    assert len(told["fingerprint"]) == 16
    assert told["results"][0]["num_codebooks"] == 2


def test_with_a_beam_each_number_of_codebooks_has_a_search_of_its_own(
    model: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their scores are those of a run that asks for that number alone."""

    def told(*arguments: str) -> dict[str, object]:
        words = ["evaluate", str(audio), "--model", model, "--jobs", "1", "--json", *arguments]
        assert run(words) == 0
        return json.loads(capsys.readouterr().out)

    wide, alone, greedy = told("-n", "1,2,4", "--beam", "4"), told("-n", "2", "--beam", "4"), told()
    assert (wide["beam"], greedy["beam"]) == (4, 1)
    scores = [(result["si_sdr"], result["stoi"]) for result in wide["results"]]
    assert scores[1] == (alone["results"][0]["si_sdr"], alone["results"][0]["stoi"])
    assert scores[2][0] != greedy["results"][-1]["si_sdr"]
    assert "beam 4" in (
        run(["evaluate", str(audio), "--model", model, "-n", "1", "--beam", "4"])
        or capsys.readouterr().out
    )


def test_an_unreadable_file_among_others_is_named_and_fails_the_command(
    model: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (audio.parent / "text.wav").write_text("no audio")
    assert run(["evaluate", str(audio.parent), "--model", model, "-n", "1", "--jobs", "1"]) == 1
    told = capsys.readouterr().out
    assert "PESQ-WB" in told
    assert "text.wav: not a sound file" in told


@pytest.mark.parametrize(
    ("extra", "status", "message"),
    [
        (["-n", "1,x"], 2, "1,3,6,12"),
        (["-n", "0"], 2, "1,3,6,12"),
        (["-n", "999"], 1, "999 codebooks"),
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
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""
    assert "Traceback" not in told.err
