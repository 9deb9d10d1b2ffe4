"""`--engine onnx`: ONNX Runtime instead of PyTorch, the same codes and the same audio."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import CodecError, StreamDecoder, StreamEncoder, load_codec
from audiocodec.onnx.engine import cache_folder
from audiocodec.onnx.graph import import_onnxruntime
from audiocodec.runtime import RuntimeCodec
from audiocodec_cli.main import run

pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of this file's tests alone."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def onnx(model: str) -> RuntimeCodec:
    return load_codec(model, engine="onnx")


def close(decoded: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(decoded, expected, rtol=0, atol=1e-4)


def pushed(codec: RuntimeCodec, audio: torch.Tensor, num_codebooks: int) -> torch.Tensor:
    """Codes of audio ``[B, 1, T]`` in pieces of random lengths, none and much among them."""
    encoder = StreamEncoder(codec, num_codebooks, len(audio))
    cuts = np.sort(np.random.default_rng(0).integers(0, audio.shape[-1], 40)).tolist()
    pieces = [encoder.push(piece) for piece in audio.tensor_split(cuts, dim=-1)]
    return torch.cat([*pieces, encoder.flush()], dim=-1)


@pytest.mark.parametrize("channels", [1, 3])
def test_streams_in_random_pieces_give_what_pytorch_gives(
    onnx: RuntimeCodec, model: str, channels: int
) -> None:
    torch_codec = load_codec(model)
    audio = 0.3 * torch.randn(channels, 1, 50_007)
    expected = torch_codec.encode(audio, 3)
    codes = pushed(onnx, audio, 3)
    assert codes.shape == expected.shape
    assert (codes == expected).double().mean() >= 0.999
    decoder, peer = StreamDecoder(onnx, channels), StreamDecoder(torch_codec, channels)
    for piece in expected.tensor_split([1, 1, 9, 100], dim=-1):
        close(decoder.push(piece), peer.push(piece))
        close(decoder.conceal(2), peer.conceal(2))
    close(decoder.flush(), peer.flush())


def test_a_state_goes_from_one_engine_to_the_other(onnx: RuntimeCodec, model: str) -> None:
    expected = load_codec(model).encode(0.3 * torch.randn(1, 1, 320 * 40))
    decoder, peer = StreamDecoder(onnx), StreamDecoder(load_codec(model))
    whole = torch.cat([peer.push(expected), peer.flush()], dim=-1)
    first = decoder.push(expected[..., :11])
    peer.load_state(decoder.save_state())
    second = peer.push(expected[..., 11:25])
    decoder.load_state(peer.save_state())
    close(torch.cat([first, second, decoder.push(expected[..., 25:]), decoder.flush()], -1), whole)


def test_the_command_gives_the_same_files_there_and_back(
    here: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "fresh"))
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (22_057, 2))
    for name in ("in/a.wav", "in/b.wav"):
        Path(name).parent.mkdir(exist_ok=True)
        soundfile.write(name, noise, 22_050)
    for engine in ("torch", "onnx"):
        options = ["--engine", engine, "--model", model]
        assert run(["encode", "in", f"tok_{engine}", "--beam", "2", "--jobs", "2", *options]) == 0
        err = capsys.readouterr().err
        assert run(["decode", "tok_torch/a.tok", f"{engine}.wav", *options]) == 0
        assert run(["stream", "--input", "in/a.wav", "--output", f"s.{engine}.wav", *options]) == 0
        assert "making" not in capsys.readouterr().err
    assert err.startswith("making the ONNX graphs of small, once, in ") and err.count("\n") == 1
    made = sorted(path.name for path in (here / "fresh").rglob("*") if path.is_file())
    assert made == ["decoder.onnx", "encoder.onnx"]
    for name in ("a.tok", "b.tok"):
        assert Path("tok_onnx", name).read_bytes() == Path("tok_torch", name).read_bytes()
    for name in ("{}.wav", "s.{}.wav"):
        decoded, expected = (soundfile.read(name.format(e))[0] for e in ("onnx", "torch"))
        np.testing.assert_allclose(decoded, expected, atol=1e-4)


def test_onnx_runtime_is_told_to_report_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    import_onnxruntime("this test")
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_what_it_cannot_do_is_told_in_a_line_before_any_work(
    here: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write("in.wav", np.zeros(999), 16_000)
    command = ["encode", "in.wav", "--engine", "onnx", "--model", model]

    def fails(message: str, *options: str) -> None:
        assert run([*command, *options]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"error: {message}") and err.count("\n") == 1
        assert [path.name for path in here.iterdir()] == ["in.wav"]

    fails("--exact: --engine onnx computes in float32 only; use --engine torch", "--exact")
    fails("--device cuda: --engine onnx is for CPUs; use --engine torch", "--device", "cuda")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        fails("the engine onnx needs the package onnxruntime: pip install 'audiocodec[onnx]'")
    graph = next(cache_folder().rglob("encoder.onnx"))
    whole = graph.read_bytes()
    graph.write_bytes(whole[: len(whole) // 2])
    fails(f"{graph}: ONNX Runtime cannot read it")
    graph.unlink()
    with pytest.raises(CodecError, match="float32 and on the CPU"):
        load_codec(model, dtype=torch.float64, engine="onnx")
    monkeypatch.setenv("XDG_CACHE_HOME", "in.wav")
    assert run(command) == 1
    assert "name another place with XDG_CACHE_HOME" in capsys.readouterr().err


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda codec: pickle.loads(pickle.dumps(codec))])
def test_a_codec_that_was_used_can_be_copied(
    onnx: RuntimeCodec, copied: Callable[[RuntimeCodec], RuntimeCodec]
) -> None:
    audio = 0.1 * torch.randn(1, 1, 4000)
    codes = onnx.encode(audio)
    assert torch.equal(copied(onnx).encode(audio), codes)


def test_the_caller_s_context_changes_nothing_and_results_are_ordinary_tensors(
    onnx: RuntimeCodec,
) -> None:
    audio = 0.1 * torch.randn(1, 1, 4000)
    codes = onnx.encode(audio)
    decoded = onnx.decode(codes)
    with torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        assert torch.equal(onnx.encode(audio), codes)
        assert torch.equal(onnx.decode(codes), decoded)
    pushed(onnx, audio, 2).add_(1)
    StreamDecoder(onnx).push(codes).mul_(0.5)
    decoded.mul_(0.5)


def test_an_engine_that_does_not_exist_is_named(model: str) -> None:
    with pytest.raises(CodecError, match=r"engine tensorrt: does not exist.*torch, onnx"):
        load_codec(model, engine="tensorrt")
