"""What the tests share: one thread, fixed seeds, a small random codec and a clip of speech."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audiocodec import Codec, CodecConfig, find_audio, load_audio, save_codec
from audiocodec.config import read_yaml
from audiocodec.runtime import RuntimeCodec

ROOT = Path(__file__).resolve().parents[1]

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """A shell starts background jobs (``pytest &``) deaf to Ctrl-C, which some tests send."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Every test starts from the same random numbers, and with one thread, whatever ran before it:
    commands that a test calls may have set another number, and two busy threads for each of two
    workers make some tests ten times as slow."""
    torch.set_num_threads(1)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw nothing for TensorBoard, which takes seconds, unless a test is about that."""
    if "pictures" not in request.keywords:
        monkeypatch.setattr("audiocodec.training.monitor.Monitor._pictures", lambda *_: None)


def tensors(value: object, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors that an object holds, by their places in it."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, torch.nn.Module):
        yield from sorted(value.state_dict().items())
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from tensors(item, f"{name}.{place}")
    elif hasattr(value, "__dict__"):
        for key, item in vars(value).items():
            yield from tensors(item, f"{name}.{key}")


MEASURED: list[str] = []


@pytest.fixture
def say() -> Callable[[str], None]:
    """Lines that stand at the end of the run: what was measured on the way."""
    return MEASURED.append


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker process of pytest-xdist hands its lines to the process that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["measured"] = MEASURED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    MEASURED.extend(getattr(node, "workeroutput", {}).get("measured", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MEASURED:
        terminalreporter.section("measured")
        for line in MEASURED:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def trainable() -> Codec:
    """A random codec of the size in recipes/tiny.yaml, for training. Do not change it."""
    settings = read_yaml(ROOT / "recipes" / "tiny.yaml")["codec"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Codec(CodecConfig.from_mapping(settings)).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def codec(trainable: Codec) -> RuntimeCodec:
    """The same codec in use."""
    return RuntimeCodec(trainable)


@pytest.fixture(scope="session")
def clip() -> Path:
    """The bundled speech clip's file."""
    return find_audio(ROOT / "audiocodec" / "clips")[0]


@pytest.fixture(scope="session")
def speech(clip: Path) -> torch.Tensor:
    """The bundled speech clip at 16 kHz: float32 [1, 1, T] in [-1, 1]."""
    audio, _ = load_audio(clip, sample_rate=16000)
    return audio[:1].unsqueeze(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real speech beside the project; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no speech at {folder}")
    return folder


@pytest.fixture(scope="module")
def model(trainable: Codec, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small random codec, saved as the model `small`."""
    folder = tmp_path_factory.mktemp("models") / "small"
    save_codec(trainable, folder)
    return str(folder)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that messages hold short paths."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
