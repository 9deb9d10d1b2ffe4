"""`codec` as a process: signals end it cleanly, and any name can be printed in any encoding."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

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
