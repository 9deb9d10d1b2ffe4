"""The Ray runner on a cluster of two workers: the bytes of a run without Ray, whoever is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from audiocodec import load_audio, load_codec, save_audio
from audiocodec.corpus.opening import open_corpus
from audiocodec.tokenising.run import tokenize
from audiocodec.tokenising.settings import Settings
from audiocodec_cli.main import run

pytest.importorskip("ray", reason="not installed: ray (extra `ray`)")
pytest.importorskip("pandas", reason="not installed: pandas (extra `ray`)")
if sys.platform != "linux":
    pytest.skip("processes are found in /proc", allow_module_level=True)

SHARDS = 24


@pytest.fixture(scope="module")
def place(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, an unreadable file in it."""
    folder = tmp_path_factory.mktemp("ray")
    audio, rate = load_audio(clip, 16000)
    (folder / "in").mkdir()
    for number in range(2 * SHARDS):
        length = (1 + number % 5) * rate
        save_audio(folder / "in" / f"{number:02d}.wav", audio[:1, number * 99 :][:, :length], rate)
    (folder / "in" / "07.wav").write_bytes(b"no audio")
    return folder


@pytest.fixture(scope="module")
def local(place: Path, model: str) -> dict[str, bytes]:
    """What a run without Ray writes."""
    before = Path.cwd()
    os.chdir(place)
    try:
        corpus, codec = open_corpus(Path("in")), load_codec(model, dtype=torch.float32)
        tokenize(corpus, Settings.of(codec, corpus, shard_size=2), codec, Path("local"))
    finally:
        os.chdir(before)
    return files(place / "local")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def start(place: Path, model: str, out: str) -> subprocess.Popen[str]:
    """`codec tokenize --runner ray` with two workers, in a process group of its own."""
    words = ["tokenize", "in", out, "--model", model, "--shard-size", "2"]
    words += ["--runner", "ray", "--jobs", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "audiocodec_cli", *words],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},  # else Ray writes into the home folder
        start_new_session=True,
    )


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Process numbers and command lines below a process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text() if entry.name.isdecimal() else ""
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if stat:
            parents[int(entry.name)] = (int(stat.rpartition(")")[2].split()[1]), command)
    found = {pid}
    while more := {child for child, (parent, _) in parents.items() if parent in found} - found:
        found |= more
    return ((child, parents[child][1]) for child in found - {pid})


def is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_for_shards(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    """Wait until some shards are finished."""
    deadline = time.monotonic() + 300
    while len(list(folder.glob("ledger/shard-*.json"))) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no shards in five minutes"
        time.sleep(0.02)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    found = [pid for pid, command in descendants(process.pid) if "MapWorker" in command]
    assert len(found) == 2
    return found


def test_after_a_killed_driver_and_a_killed_worker_the_bytes_are_those_of_a_run_without_ray(
    place: Path, model: str, local: dict[str, bytes]
) -> None:
    """One claim for both, because a start of Ray takes ten seconds."""
    process = start(place, model, "out")
    wait_for_shards(process, place / "out", 3)
    workers = workers_of(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline, "the workers outlive the driver"
        time.sleep(0.1)
    kept = sum(name.startswith("ledger/shard-") for name in files(place / "out"))
    assert 3 <= kept < SHARDS - 4

    process = start(place, model, "out")
    wait_for_shards(process, place / "out", kept + 1)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1, output  # one file is unreadable
    assert "error: 1 utterances could not be tokenised" in output
    assert "there already: " in output
    assert files(place / "out") == local


def test_an_address_without_a_cluster_is_one_line_and_nothing_is_begun(
    place: Path, model: str, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["tokenize", str(place / "in"), str(place / "none"), "--model", model]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # nobody listens
        address = f"127.0.0.1:{free.getsockname()[1]}"
        assert run([*words, "--runner", "ray", "--address", address]) == 1
    assert capfd.readouterr().err.startswith(f"error: --address {address}: no Ray cluster there (")
    assert not (place / "none").exists()
