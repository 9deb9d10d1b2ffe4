"""A progress bar is live in a terminal, seldom in a log, and absent with --quiet."""

from __future__ import annotations

import io
import sys

import pytest

from audiocodec.progress import hidden_progress, progress_bar, progress_hidden


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that bars see, in seconds."""
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def work(clock: list[float], seconds: int) -> None:
    with progress_bar(seconds, "files", "encode") as bar:
        for _ in range(seconds):
            clock[0] += 1
            bar.update(1)


def test_a_log_gets_a_line_about_twice_a_minute_and_none_for_short_work(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    work(clock, 29)
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
    work(clock, 600)
    lines = sys.stderr.getvalue().splitlines()  # type: ignore[attr-defined]
    assert 10 <= len(lines) <= 21
    assert lines[-1].startswith("encode: ")
    assert " of 600 files, " in lines[-1]
    assert "\r" not in "".join(lines)


def test_a_terminal_gets_a_bar_that_is_cleared(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    work(clock, 10)
    text = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "encode:  50 %|" in text
    assert text.endswith("\r")
    assert "\n" not in text


def test_hidden_bars_print_nothing_until_the_end_of_the_block(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with hidden_progress():
        assert progress_hidden()
        work(clock, 10)
    assert not progress_hidden()
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]
