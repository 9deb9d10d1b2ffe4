"""Threads: the command sets how many, its user decides, and the library leaves them alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import soundfile
import torch

from audiocodec import CodecError, decode_file, encode_file, evaluate, load_codec
from audiocodec.verification import verify
from audiocodec_cli.main import let_threads_sleep, run
from audiocodec_cli.options import resolve_jobs, use_threads

COMMANDS = {
    "encode": ["in.wav"],
    "decode": ["in.tok"],
    "stream": ["--input", "in.wav", "--output", "out.wav"],
    "evaluate": ["in.wav"],
    "verify": ["in.wav"],
    "demo": [],
    "export": ["--onnx", "exported"],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many threads PyTorch was asked for, in order; it is not told."""
    numbers: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return numbers


@pytest.fixture
def three_threads() -> Iterator[None]:
    """A caller who has PyTorch compute on three threads."""
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


def test_the_option_wins_then_the_environment_then_the_default(
    asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_threads()
    use_threads(4)
    use_threads(default=None)
    assert asked == [1, 4]
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # PyTorch reads it by itself
    use_threads()
    assert asked == [1, 4]
    use_threads(2)
    assert asked == [1, 4, 2]


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize("threads", [None, 5])
def test_every_command_sets_its_threads_before_it_loads_a_model(
    here: Path,
    asked: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    threads: int | None,
) -> None:
    class Loaded(CodecError):
        """Stops the command where it loads the model."""

    def load(*_: object) -> NoReturn:
        raise Loaded(f"after {asked}")

    for module in ("checkpoint", "verification"):
        monkeypatch.setattr(f"audiocodec.{module}.load_codec", load)
    soundfile.write("in.wav", torch.zeros(999).numpy(), 16000)
    Path("in.tok").touch()
    option = ["--threads", str(threads)] if threads else []
    assert run([verb, *COMMANDS[verb], *option]) == 1
    expected = 1 if threads is None or verb == "verify" else threads
    assert capsys.readouterr().err.endswith(f"error: after [{expected}]\n")


def test_threads_are_taken_from_the_files_done_at_a_time() -> None:
    cores = resolve_jobs(None)
    assert resolve_jobs(None, cores) == resolve_jobs(None, 2 * cores) == 1
    assert resolve_jobs(3, 2) == 3


def test_threads_that_wait_sleep_unless_the_user_has_said_how_they_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    let_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    let_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_the_library_leaves_the_caller_s_threads_alone(
    three_threads: None, here: Path, model: str
) -> None:
    soundfile.write("in.wav", 0.1 * torch.randn(9000, 2).numpy(), 16000)
    codec = load_codec(model)
    assert torch.get_num_threads() == 3
    encode_file("in.wav", "in.tok", codec)
    decode_file("in.tok", "out.wav", codec)
    assert torch.get_num_threads() == 3
    checks = verify(model, ["in.wav"], threads=2)
    assert "2 threads against 1" in {check.name for check in checks}
    assert torch.get_num_threads() == 3
    evaluate(codec, "in.wav", [1], jobs=1)
    assert torch.get_num_threads() == 3
    with pytest.raises(CodecError):
        evaluate(codec, "absent.wav")
    assert torch.get_num_threads() == 3


def test_files_are_done_on_as_many_threads_as_asked(
    here: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several files each has its own; the caller of the command has as many as before."""
    import audiocodec.files

    seen: list[int] = []
    encode = audiocodec.files.encode_file

    def look(*arguments: object, **options: object) -> object:
        seen.append(torch.get_num_threads())
        return encode(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(audiocodec.files, "encode_file", look)
    for name in ("a", "b"):
        soundfile.write(f"{name}.wav", 0.1 * torch.randn(999).numpy(), 16000)
    try:
        assert run(["encode", "a.wav", "b.wav", "--model", model, "--threads", "2"]) == 0
        assert run(["encode", "a.wav", "--model", model, "--overwrite", "--threads", "1"]) == 0
    finally:
        torch.set_num_threads(1)
    assert seen == [2, 2, 1]


def test_onnx_runtime_has_the_threads_of_pytorch(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options: list[object] = []
    session = onnxruntime.InferenceSession

    def look(path: Path, given: object, **others: object) -> object:
        options.append(given)
        return session(path, given, **others)

    codec = load_codec(model, engine="onnx")
    monkeypatch.setattr(onnxruntime, "InferenceSession", look)
    codec.encode(torch.zeros(1, 1, 999))
    assert [given.intra_op_num_threads for given in options] == [1]  # type: ignore[attr-defined]
