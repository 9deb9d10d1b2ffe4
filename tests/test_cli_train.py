"""From a recipe to scores by the command line alone, as a newcomer would."""

import json
import types
from pathlib import Path

import pytest
import soundfile

from audiocodec import TokenFile, load_codec
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
    with TokenFile(tok) as file:
        assert file.header.model == "tiny"  # the recipe's name
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


def test_check_prints_what_a_recipe_produces(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plenty = types.SimpleNamespace(free=10**15)
    monkeypatch.setattr("audiocodec.training.check.diskspace.shutil.disk_usage", lambda _: plenty)
    changes = ["data.root=/speech", "data.download=true", "schedule.batch_size=1"]
    changes += ["data.segment_seconds=0.2", "discriminators=null"]
    sets = [word for change in changes for word in ("--set", change)]
    assert run(["train", "librispeech", "--check", "--json", "--device", "cpu", *sets]) == 0
    made = json.loads(capsys.readouterr().out)
    subsets = ("train-clean-100", "train-clean-360", "train-other-500")
    assert made["to_download"] == [f"librispeech/{subset}" for subset in subsets]
    assert made["download_bytes"] == pytest.approx(59e9, rel=0.02)
    assert made["disk_bytes"]["download"] == pytest.approx(89e9, rel=0.02)  # one archive at a time
    assert made["hours_of_audio"] == pytest.approx(961, abs=1)
    assert made["frame_rate"] == 50
    assert made["bitrates"][-1] == 8000
    assert made["parameters"] < 12e6


def test_time_limits_are_durations(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", TINY, "--check", "--time-limit", "soon"]) == 2
    assert "90s, 9m or 1.5h" in capsys.readouterr().err


def test_check_prints_what_the_run_needs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", TINY, "--set", f"data.root={CLIPS}", "--check", "--device", "cpu"]
    assert run([*arguments, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["files"], made["held_out"]) == (1, 1)
    assert made["hours_of_audio"] * 3600 == pytest.approx(8, abs=4)
    assert (made["files_decoded"], made["near_silent"], made["unreadable"]) == (1, 0, [])
    assert made["seconds_per_step"] > 0
    assert made["hours"] * 3600 >= 40 * made["seconds_per_step"]
    assert made["memory_bytes"] > 50e6
    assert made["disk_bytes"]["cache"] == pytest.approx(made["hours_of_audio"] * 3600 * 32000, 0.01)
    assert made["disk_bytes"]["checkpoints"] > 2 * 4 * made["parameters"]
    assert not list(here.iterdir())  # a check writes nothing
    assert run(arguments) == 0
    told = capsys.readouterr().out
    for words in (
        "1 file held out",
        "near-silent",
        "time    about",
        "memory  about",
        "disk    about",
    ):
        assert words in told


def test_tiny_trains_without_a_folder_of_recordings(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "tiny", "--device", "cpu", "--time-limit", "0s"]) == 0
    captured = capsys.readouterr()
    assert "codec train --resume runs/tiny" in captured.out
    assert "1 file to train on, 1 held out" in captured.err


@pytest.mark.parametrize(
    "recipe", sorted((ROOT / "recipes").rglob("*.yaml")), ids=lambda path: path.stem
)
def test_recipes_have_no_paths_and_need_data_root(
    recipe: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "../" not in recipe.read_text().replace("base: ../", "")
    if recipe.stem == "tiny":
        return
    for words in ([], ["--check"]):
        assert run(["train", str(recipe), "--device", "cpu", *words]) == 1
        told = capsys.readouterr().err
        assert told == "error: data.root: not given; name your recordings: --set data.root=FOLDER\n"
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume"], "codec train --resume runs/NAME"),
        ([], "name a recipe, e.g. codec train tiny"),
    ],
)
def test_a_run_or_a_recipe_must_be_named(
    arguments: list[str], words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_resume_line_that_is_printed_continues_the_run_that_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my speech").mkdir()
    audio, rate = soundfile.read(sorted(CLIPS.glob("*.flac"))[0], dtype="int16")
    for number in range(2):
        soundfile.write(tmp_path / f"my speech/{number}.wav", audio[: 2 * rate], rate)
    monkeypatch.chdir(tmp_path)
    sets = ["data.root=my speech", "codec.sample_rate=8000", "schedule.steps=3", "seed=7"]
    words = [word for change in sets for word in ("--set", change)]
    arguments = ["train", TINY, *words, "--out", "a run", "--device", "cpu", "--time-limit", "0s"]
    assert run(arguments) == 0
    line = capsys.readouterr().out.splitlines()[-1].strip()
    before = Path("a run/recipe.yaml").read_text()
    (tmp_path / "elsewhere").mkdir()
    assert line == "codec train --resume 'a run'"
    # Also from another folder, and beside a recipe that says something else.
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = ["--resume", "../a run", "--device", "cpu", "--time-limit", "0s"]
    assert run(["train", *again]) == 0
    assert "step 2 of 3" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert run(["train", TINY, "--out", "a run", "--resume", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "done: 3 steps" in captured.out
    for change in ("seed: 0 -> 7", "schedule.steps: 40 -> 3", "sample_rate: 16000 -> 8000"):
        assert change in captured.err
    assert Path("a run/recipe.yaml").read_text() == before
    codec = load_codec("a run/model")
    assert (codec.sample_rate, codec.name) == (8000, "tiny")


def test_a_setting_changed_on_resume_is_printed(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "tiny", "--device", "cpu", "--time-limit", "0s"]) == 0
    capsys.readouterr()
    words = ["--resume", "runs/tiny", "--set", "schedule.steps=2", "--device", "cpu"]
    assert run(["train", *words]) == 0
    assert "recipe changed: schedule.steps: 40 -> 2" in capsys.readouterr().err
    assert "steps: 2\n" in Path("runs/tiny/recipe.yaml").read_text()
    assert run(["train", "runs/tiny"]) == 1
    assert "codec train --resume runs/tiny" in capsys.readouterr().err


def test_a_model_that_is_not_usable_is_an_error(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tiny", "--set", "optimizer.learning_rate=1", "--set", "schedule.steps=20"]
    for arguments in (words, ["--resume", "runs/tiny"]):
        assert run(["train", *arguments, "--device", "cpu"]) == 1
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert told.startswith("error: runs/tiny/model: not usable: ")
        assert "lower optimizer.learning_rate (1)" in told
    assert load_codec("runs/tiny/model").name == "tiny"
