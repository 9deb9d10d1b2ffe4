"""`codec` as a process: signals end it cleanly, and any name can be printed in any encoding."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec import evaluate, load_codec

SIGNALS = """
import os, signal, sys
from audiocodec_cli import main, process

def command(**_):
    print("begun", flush=True)
    try:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        print("goes on")
    finally:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        print("cleared up")

signal.signal(signal.SIGHUP, signal.SIG_IGN if "ignored" in sys.argv else signal.SIG_DFL)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
main.codec.main = command
main.main()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_lets_a_command_clear_up_even_if_it_comes_twice(name: str) -> None:
    result = subprocess.run([sys.executable, "-c", SIGNALS, name], capture_output=True, text=True)
    assert result.returncode == 128 + getattr(signal, name)
    assert result.stdout.splitlines() == ["begun", "cleared up"]
    assert result.stderr == "interrupted\n"


def test_nohup_is_respected() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SIGNALS, "SIGHUP", "ignored"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["begun", "goes on", "cleared up"]


PRINTS = """
import click, sys
from audiocodec_cli import main

def command(**_):
    click.echo(sys.argv[1])
    click.echo(sys.argv[1], err=True)

main.codec.main = command
main.main()
"""


@pytest.mark.parametrize(
    ("encoding", "name", "printed"),
    [
        ("cp1252", "日é.wav".encode(), b"\\u65e5\xe9.wav"),
        ("cp1252:strict", b"caf\xe9\xff.wav", b"caf\xe9\xff.wav"),
        ("ascii", "日.wav".encode(), "日.wav".encode()),  # click takes UTF-8 instead
        ("latin-1", "日.wav".encode(), b"\\u65e5.wav"),
        ("shift_jis", "日é.wav".encode(), b"\x93\xfa\\xe9.wav"),
        ("utf-8", "日é.wav".encode(), "日é.wav".encode()),
        ("utf-8:strict", b"caf\xe9\xff.wav", b"caf\xe9\xff.wav"),
    ],
)
def test_any_name_can_be_printed_in_any_encoding(
    encoding: str, name: bytes, printed: bytes
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PRINTS, name],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"},
    )
    assert result.stdout == result.stderr == printed + b"\n"
    assert result.returncode == 0


def test_names_that_the_terminal_lacks_are_encoded_and_json_stays_json(
    here: Path, model: str
) -> None:
    names = ["日本語 é.wav".encode(), b"caf\xe9\xff.wav"]
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 800)
    for name in names:
        soundfile.write("a.wav", noise, 16000)
        Path("a.wav").rename(os.fsdecode(name))
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-m", "audiocodec_cli", "encode", *names, "--model", model]
    made = subprocess.run([*command, "--json"], capture_output=True, env=environment)
    assert (made.returncode, made.stderr) == (0, b"")
    files = json.loads(made.stdout)["files"]
    assert [os.fsencode(file["source"]) for file in files] == names
    assert all(Path(file["target"]).is_file() for file in files)


def test_a_csv_takes_a_name_that_is_not_utf_8(here: Path, model: str) -> None:
    soundfile.write("a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 16000)
    Path("a.wav").rename(os.fsdecode(b"caf\xe9.wav"))
    evaluate(load_codec(model), [os.fsdecode(b"caf\xe9.wav")], [1], jobs=1).write_csv("scores.csv")
    assert b",caf\xe9.wav,1," in Path("scores.csv").read_bytes().replace(b"\r", b"")
