"""From a recipe to scores by the command line alone, as a newcomer would."""

import json
from pathlib import Path

import pytest
import soundfile

from audiocodec_cli.main import run

ROOT = Path(__file__).resolve().parents[1]
TINY = str(ROOT / "recipes" / "tiny.yaml")
CLIPS = ROOT / "audiocodec" / "clips"


def test_tiny_trains_encodes_decodes_and_evaluates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = tmp_path / "speech"
    speech.mkdir()
    audio, rate = soundfile.read(sorted(CLIPS.glob("*.flac"))[0], dtype="int16")
    soundfile.write(speech / "a.wav", audio[: 4 * rate], rate)
    out = tmp_path / "run"
    arguments = ["train", TINY, "--set", f"data.root={speech}", "--out", str(out), "--json"]
    assert run([*arguments, "--device", "cpu", "--time-limit", "0s"]) == 0
    assert json.loads(capsys.readouterr().out)["finished"] is False
    assert run([*arguments, "--device", "cpu", "--resume"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["finished"] and result["step"] == 40

    model, tok, back = result["model"], str(tmp_path / "a.tok"), str(tmp_path / "back.wav")
    assert run(["encode", str(speech / "a.wav"), tok, "--model", model]) == 0
    assert run(["decode", tok, back, "--model", model]) == 0
    assert soundfile.info(back).frames == 4 * rate
    assert run(["info", model]) == 0
    capsys.readouterr()
    table = tmp_path / "scores.csv"
    arguments = ["evaluate", str(speech), "--model", model, "-n", "1,4", "--csv", str(table)]
    assert run([*arguments, "--jobs", "1"]) == 0
    assert len(table.read_text().splitlines()) == 3
    assert "PESQ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([TINY, "--set", "optimiser.learning_rate=1"], "did you mean `optimizer`"),
        ([TINY, "--set", "data.root=/no/such/folder"], "/no/such/folder"),
        (["no.yaml"], "no.yaml"),
        ([TINY, "--set", "init_from=nobody"], "nobody"),
        ([TINY, "--resume"], "no run to resume"),
        ([TINY, "--set", "name=2024-13-45"], "not valid YAML; quote it"),
        ([TINY, "--set", "seed=!!int one"], "not valid YAML; quote it"),
        ([TINY, "--set", "data.root=/no/such/folder", "--check"], "/no/such/folder"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    extra = [] if "data.root" in str(arguments) else ["--set", f"data.root={CLIPS}"]
    out = tmp_path / "run"
    assert run(["train", *arguments, *extra, "--out", str(out), "--device", "cpu"]) == 1
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("recipe", ["librispeech", str(ROOT / "recipes" / "librispeech.yaml")])
def test_check_says_what_a_recipe_makes(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", recipe, "--check", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["frame_rate"] == 50
    assert made["bitrates"][-1] == 6000
    assert made["parameters"] < 12e6


def test_time_limits_are_durations(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", TINY, "--check", "--time-limit", "soon"]) == 2
    assert "90s, 9m or 1.5h" in capsys.readouterr().err


def test_check_counts_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", TINY, "--set", f"data.root={CLIPS}", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 1  # the other one is held out
