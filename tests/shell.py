"""Runs the lines of a page's bash blocks, in this process where that is possible.

A process that imports PyTorch takes seconds; a page has up to thirty commands. Lines that are one
call of `codec` are called here. Lines with pipes, redirections or variables are
given to bash, in which stand-ins take the place of programs that a test must not call.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiocodec.web.onnxruntime import FILES

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["codec.seanet.channels=[4,8,12,16]", "schedule.batch_size=1"]
SMALL += ["schedule.initialisation_frames=1100"]
# In place of programs that a test must not call.
STAND_INS = {
    **dict.fromkeys(["pytest", "tensorboard"], "exit 0"),
    "arecord": "cat in.wav",
    "aplay": "cat > /dev/null",
    "jq": 'cat "${@: -1}"',
    "ssh": 'bash -c "$2"',
    "codec": f'exec {shlex.quote(sys.executable)} -m audiocodec_cli "$@"',
}


def lines_of(text: str) -> Iterator[str]:
    """The commands of a bash block: lines with their continuations, without comments."""
    waiting = ""
    for line in text.splitlines():
        if not waiting and (not line.strip() or line.lstrip().startswith("#")):
            continue
        waiting += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        if re.search(r"(\||&&)\s*(#.*)?$", line):
            waiting += "\n"
        else:
            yield waiting
            waiting = ""
    assert not waiting


def words_of(line: str) -> list[str] | None:
    """The words of a line that is one call without anything for a shell to do, else ``None``."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    plain = not any(set(word) <= set("();<>|&") for word in words)
    return words if plain and not re.search(r"[$`*]|^\w+=", line.partition(" #")[0]) else None


class Shell:
    """The commands of a page, run in one folder.

    Args:
        folder: where they run.
        model: a small model with 16 codebooks, in place of the bundled one where a run starts
            from its weights.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model
        programs = folder / ".programs"
        programs.mkdir()
        for name, lines in STAND_INS.items():
            (programs / name).write_text(f"#!/bin/bash\n{lines}\n")
            (programs / name).chmod(0o755)
        for name in FILES:  # of ONNX Runtime for browsers, which `codec web` would fetch
            (programs / name).touch()
        self.environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    def run(self, block: str) -> None:
        """Run a bash block; an error names its line."""
        for line in lines_of(block):
            words = words_of(line)
            if words and words[0] == "codec":
                self._codec(words[1:])
            elif re.match("pip install", line):
                check_extras(line)
                if "&&" in line:
                    self.run(line.partition("&&")[2])
            else:
                self._bash(line)

    def _codec(self, words: list[str]) -> None:
        from audiocodec_cli.main import run

        line = shlex.join(["codec", *words])
        if words[0] == "train":
            words = self._shorter(words)
        elif words[0] == "train-context":
            words = [*words, "--steps", "1"]
        elif words[0] in {"evaluate", "score", "compare"}:  # two jobs import PyTorch twice
            words = [*words, "--jobs", "1"]
            if words[0] == "evaluate" and not {"--model", "--save"} & set(words):
                words += ["--model", str(self.model)]
            if words[0] == "compare":
                words = [str(self.model) if word == "speech_16khz" else word for word in words]
        elif words[0] == "probe":
            words = [*words, "--model", str(self.model)]
        elif words[0] == "web":  # which would serve until Ctrl-C
            words = [*words, "--no-serve", "--runtime", ".programs"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("PATH", self.environment["PATH"])
            assert run(words) == 0, line

    def _shorter(self, words: list[str]) -> list[str]:
        """One step of a small network, as if Ctrl-C came then."""
        if "--check" not in words:
            words = [*words, "--time-limit", "0.1s"]
        if "--resume" in words or words[1] == "tiny":
            return words
        settings = SMALL
        if "adversarial" in words[1]:
            settings = [f"init_from={self.model}", f"name={Path(words[1]).stem}"]
            settings += ["codec.quantizer.num_codebooks=16", "schedule.codebooks=[1,16]"]
            words = ["train", "tiny", *words[2:]]
        return [*words, *(word for setting in settings for word in ("--set", setting))]

    def _bash(self, line: str) -> None:
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, line + result.stdout + result.stderr


def check_extras(line: str) -> None:
    """Raise unless the extras that a line installs are there."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for group in re.findall(r"\[([a-z_,]+)\]", line) if "pip install" in line else ():
        assert set(group.split(",")) <= set(known), line
