"""The command as a whole: its version, its other name, suggestions, --quiet, --json, completion."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile

from audiocodec_cli.main import COMMANDS, codec, run

ROOT = Path(__file__).resolve().parents[1]


def command(name: str) -> click.Command:
    found = codec.get_command(click.Context(codec), name)
    assert found is not None
    return found


def record(path: str, seconds: float = 0.5) -> None:
    audio = np.random.default_rng(0).uniform(-0.3, 0.3, round(16000 * seconds))
    soundfile.write(path, audio, 16000)


def test_python_m_audiocodec_is_the_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "audiocodec", "-V"], capture_output=True, text=True, cwd=ROOT
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"codec \d+\.\d+.*\n", result.stdout)


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        ("enode", "Did you mean 'encode'?"),
        ("Info", "Did you mean 'info'?"),
        ("xyz", f"Commands: {', '.join(COMMANDS)}."),
    ],
)
def test_a_command_that_does_not_exist_has_a_suggestion(
    typed: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([typed]) == 2
    assert f"No such command '{typed}'. {remedy}" in capsys.readouterr().err


def test_quiet_prints_errors_only_before_and_after_the_command(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in.wav")
    assert run(["-q", "encode", "in.wav", "--model", model]) == 0
    assert run(["decode", "in.tok", "--model", model, "--quiet"]) == 0
    streams = ["--input", "in.wav", "--output", "out.wav", "--model", model]
    assert run(["stream", "-q", *streams]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "")
    assert run(["encode", "-q", "none.wav", "--model", model]) == 1
    assert capsys.readouterr().err == "error: none.wav: no such file or folder\n"
    assert run(["-q", "info", "in.tok"]) == 0
    assert capsys.readouterr().out.startswith("in.tok\n")
    assert run(["encode", "in.wav", "--overwrite", "--model", model]) == 0  # not quiet any more
    assert capsys.readouterr().out.startswith("in.wav -> in.tok")


def test_json_is_one_object_with_the_keys_that_help_names(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in.wav", 1.0)
    Path("b").mkdir()
    record("b/in.wav")
    calls = {
        "encode": ["in.wav", "b", "out/", "--model", model],
        "decode": ["out", "back", "--model", model],
        "info": ["out", "in.wav", model],
        "verify": ["in.wav", "--model", model],
        "evaluate": ["in.wav", "--model", model, "-n", "1", "--jobs", "1"],
        "score": ["in.wav", "in.wav", "--jobs", "1"],
        "compare": ["--reference", "in.wav", "in.wav", "b/in.wav", "--jobs", "1"],
        "train-context": [model, "--data", "out", "--steps", "1", "--run", "r", "--out", "c"],
    }
    for name, arguments in calls.items():
        capsys.readouterr()
        assert run([name, *arguments, "--json"]) == 0, name
        told = json.loads(capsys.readouterr().out)
        assert isinstance(told, dict)
        (option,) = (p for p in command(name).params if "--json" in p.opts)
        keys = (getattr(option, "help", None) or "").split("Its keys: ")[1]
        missing = [key for key in told if not re.search(rf"\b{key}\b", keys)]
        assert not missing, f"codec {name} --help does not name {missing}"
    # What failed is in the object; messages are on stderr.
    assert run(["encode", "none.wav", "in.wav", "x/", "--model", model, "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["failures"] == ["none.wav: no such file or folder"]
    assert err == "error: none.wav: no such file or folder\n"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("codec en", "plain,encode"),
        ("codec encode --bitr", "plain,--bitrate"),
        ("codec encode so", "file,so"),
        ("codec score a b", "file,b"),
        ("codec evaluate --model r", "file,r"),
    ],
)
def test_a_shell_completes_commands_options_and_files(words: str, found: str) -> None:
    program = "import sys\nfrom audiocodec_cli.main import run\ntry:\n    run([])\n"
    program += "finally:\n    assert not {'torch', 'numpy'} & set(sys.modules)"
    environment = {
        **os.environ,
        "_CODEC_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert (result.stdout.splitlines(), result.stderr) == ([found], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_each_shell(shell: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from audiocodec_cli.main import run; run([])"],
        capture_output=True,
        text=True,
        env={**os.environ, "_CODEC_COMPLETE": f"{shell}_source"},
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    assert f"_CODEC_COMPLETE={shell}_complete" in result.stdout


def test_a_reader_that_has_ended_ends_the_command_without_a_message(here: Path) -> None:
    record("in.wav")
    program = f"{sys.executable} -m audiocodec info in.wav | true; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("141\n", "")
