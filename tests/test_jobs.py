"""`--jobs`: several files at a time, the same bytes, and nothing left behind when it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, CodecError, save_codec
from audiocodec.batch.plan import Job, Plan
from audiocodec.batch.run import run_jobs
from audiocodec.threads import Stop, in_order, on_threads
from audiocodec_cli.main import run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainable: Codec) -> Path:
    """A current folder with the small model and a folder of audio files, two of them bad."""
    monkeypatch.chdir(tmp_path)
    save_codec(trainable, tmp_path / "small")
    noise = np.random.default_rng(0)
    for number in range(12):
        folder = Path("in", "ab"[number % 2])
        folder.mkdir(parents=True, exist_ok=True)
        samples = noise.uniform(-0.5, 0.5, (4000 + 3111 * number, 1 + number % 3))
        soundfile.write(folder / f"{number:02}.wav", samples, 16000)
    for name in ("in/a/00x.wav", "in/b/99.wav"):
        Path(name).write_text("no audio")
    return tmp_path


def contents(folder: str) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*.*")}


def test_any_number_of_jobs_gives_the_same_bytes_and_the_same_report(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = []
    for jobs in ("1", "2", "5"):
        assert run(["encode", "in", f"tok{jobs}", "--jobs", jobs, "--model", "small"]) == 1
        out, err = capsys.readouterr()
        assert "12 files done" in out and "2 failed" in out
        reports.append(err)
        assert run(["decode", f"tok{jobs}", f"out{jobs}", "--jobs", jobs, "--model", "small"]) == 0
        assert run(["encode", "in", f"tok{jobs}", "--jobs", jobs, "--model", "small"]) == 1
        assert "0 files done, 12 there already" in "".join(capsys.readouterr().out.splitlines()[1:])
    assert reports[0] == reports[1] == reports[2]
    assert [line.split(":")[1] for line in reports[0].splitlines()] == [
        " in/a/00x.wav",
        " in/b/99.wav",
    ]
    for kind in ("tok", "out"):
        assert contents(f"{kind}1") == contents(f"{kind}2") == contents(f"{kind}5")
        assert len(contents(f"{kind}1")) == 12


def test_jobs_run_side_by_side_on_one_thread_each_and_come_back_in_order() -> None:
    plan = Plan(single=False, jobs=[Job(Path(f"{n}"), Path(f"out/{n}")) for n in range(6)])
    together = threading.Barrier(3, timeout=20)
    done: list[str] = []

    def work(job: Job) -> tuple[str, int]:
        together.wait()  # nobody passes before three are here
        if job.source.name == "4":
            raise CodecError("4: is bad")
        return job.source.name, torch.get_num_threads()

    batch = run_jobs(
        plan, work, overwrite=True, after=lambda job: done.append(job.source.name), workers=3
    )
    assert batch.results == [(name, 1) for name in "01235"]
    assert batch.failures == ["4: is bad"]
    assert sorted(done) == list("012345")


def test_threads_take_few_items_ahead_of_their_turn() -> None:
    taken: list[int] = []
    results: list[int] = []

    def items() -> Iterator[int]:
        for number in range(200):
            taken.append(number)
            yield number

    def collect(number: int) -> None:
        results.append(number)
        assert len(taken) - len(results) < 16

    on_threads(lambda number: number, items(), workers=4, stop=Stop(), collect=collect)
    assert sorted(results) == taken == list(range(200))


def test_results_come_in_order_and_few_items_ahead_of_their_turn() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(200):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        time.sleep(0.002 * (number % 7 == 0))
        return number

    for place, number in enumerate(in_order(work, items(), 4, Stop(), ahead=8)):
        assert number == place
        assert len(taken) - number <= 9
    assert len(taken) == 200


def test_an_iterator_that_is_closed_early_stops_its_threads() -> None:
    stop, cleared = Stop(), []

    def work(number: int) -> int:
        try:
            while number:
                time.sleep(0.001)
                stop.check()
        finally:
            cleared.append(number)
        return number

    results = in_order(work, range(100), 3, stop, ahead=3)
    assert next(results) == 0
    results.close()
    assert set(cleared) <= {0, 1, 2, 3}  # the others never began
    assert not any("ThreadPool" in thread.name for thread in threading.enumerate())


def test_an_interruption_gives_up_all_jobs() -> None:
    plan = Plan(single=False, jobs=[Job(Path(f"{n}"), Path(f"out/{n}")) for n in range(100)])
    stop, started, cleared = Stop(), [], []
    together = threading.Barrier(4, timeout=20)

    def work(job: Job) -> None:
        started.append(job)
        try:
            if together.wait() == 0:  # one of the four
                os.kill(os.getpid(), signal.SIGINT)
            while True:
                time.sleep(0.01)
                stop.check()
        finally:
            cleared.append(job)

    with pytest.raises(KeyboardInterrupt):
        run_jobs(plan, work, overwrite=True, workers=4, stop=stop)
    assert len(started) == len(cleared) == 4
    assert not any("ThreadPool" in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_whole_files_and_no_process(here: Path, number: signal.Signals) -> None:
    long = np.random.default_rng(0).uniform(-0.5, 0.5, 16000 * 400)
    for number in range(2):
        soundfile.write(f"in/long{number}.wav", long, 16000)
    words = ["encode", "in", "tok", "--jobs", "4", "--model", "small"]
    process = subprocess.Popen(
        [sys.executable, "-m", "audiocodec_cli", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup ignores it
    )
    patience = time.monotonic() + 60
    while not list(Path("tok").glob("**/.codec-*.part")) and time.monotonic() < patience:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (128 + number, "interrupted")
    assert not list(Path("tok").rglob(".codec-*"))
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nobody is left of its session
    made = contents("tok")
    for number in range(2):
        Path(f"in/long{number}.wav").unlink()
    assert run([*words[:2], "all", *words[3:]]) == 1
    whole = contents("all")
    assert all(data == whole[name] for name, data in made.items() if "long" not in name)
