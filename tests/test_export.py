"""`codec export`: the ONNX graphs give what the codec gives, and need no PyTorch."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, CodecConfig, CodecError, load_audio, load_codec, save_codec
from audiocodec.onnx import export
from audiocodec.onnx.export import export_onnx
from audiocodec.runtime import RuntimeCodec
from audiocodec_cli.main import run

pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "onnx_codec.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("onnx_codec", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model."""
    folder = tmp_path_factory.mktemp("onnx") / "exported"
    assert run(["export", "--onnx", str(folder)]) == 0
    return folder


def page(folder: Path) -> Any:
    return json.loads((folder / "model.json").read_text())


def test_the_example_codes_the_bundled_clip_as_the_codec_does(
    example: ModuleType, exported: Path, clip: Path, tmp_path: Path
) -> None:
    codec = load_codec("speech_16khz")
    audio, rate = load_audio(clip)
    expected = codec.encode(audio.unsqueeze(1))
    codes = example.code(exported, clip, tmp_path / "out.wav")
    assert codes.dtype == np.int64
    assert codes.shape == expected.shape
    assert (codes == expected.numpy()).mean() >= 0.999
    heard, heard_rate = load_audio(tmp_path / "out.wav")
    assert (heard.shape, heard_rate) == (audio.shape, rate)
    again = codec.decode(torch.from_numpy(codes), audio.shape[-1])[:, 0].clip(-1, 1)
    torch.testing.assert_close(heard, again, rtol=0, atol=1e-4)


def test_pieces_of_any_length_give_what_the_whole_gives(
    example: ModuleType, exported: Path, clip: Path, tmp_path: Path
) -> None:
    audio, rate = soundfile.read(clip)
    soundfile.write(tmp_path / "in.wav", audio[: 2 * rate + 7], rate)
    clip = tmp_path / "in.wav"
    whole = example.code(exported, clip, tmp_path / "whole.wav", frames=10_000)
    expected, _ = load_audio(tmp_path / "whole.wav")
    for frames in (1, 7):
        codes = example.code(exported, clip, tmp_path / "pieces.wav", frames)
        assert (codes == whole).mean() >= 0.999
        if np.array_equal(codes, whole):
            heard, _ = load_audio(tmp_path / "pieces.wav")
            torch.testing.assert_close(heard, expected, rtol=0, atol=1e-4)


def test_the_example_runs_without_torch(exported: Path, clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.wav"
    program = f"""
import runpy, sys
sys.modules["torch"] = sys.modules["audiocodec"] = None  # an import of these fails
sys.argv[1:] = {[str(exported), str(clip), str(target)]}
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{target}: from codes")
    assert soundfile.info(target).frames == soundfile.info(clip).frames


def test_the_page_says_what_a_caller_must_know(exported: Path) -> None:
    import onnxruntime

    codec = load_codec("speech_16khz")
    told = page(exported)
    assert sorted(path.name for path in exported.iterdir()) == sorted(
        ["encoder.onnx", "decoder.onnx", "model.json"]
    )
    assert {name: told[name] for name in ("model", "fingerprint", "sample_rate", "opset")} == {
        "model": "speech_16khz",
        "fingerprint": codec.fingerprint,
        "sample_rate": 16000,
        "opset": export.OPSET,
    }
    assert (told["hop_length"], told["lookahead"]) == (320, codec.lookahead)
    assert told["codebook_sizes"] == list(codec.codebook_sizes)
    for name in ("encoder", "decoder"):
        session = onnxruntime.InferenceSession(exported / told[name]["file"])
        states = told[name]["states"]
        inputs = {put.name: put.shape for put in session.get_inputs()}
        assert list(inputs) == [told[name]["input"], *(s["input"] for s in states)]
        assert [put.name for put in session.get_outputs()] == [
            told[name]["output"],
            *(s["output"] for s in states),
        ]
        assert all(inputs[s["input"]] == ["batch", *s["shape"]] for s in states)


def other_than(trainable: Codec, folder: Path, changes: dict[str, Any]) -> RuntimeCodec:
    """A random codec that differs from ``trainable``, saved in ``folder``."""
    values = trainable.config.model_dump(mode="json")
    for part, change in changes.items():
        values[part] = {**values[part], **change} if isinstance(change, dict) else change
    save_codec(Codec(CodecConfig.from_mapping(values)), folder)
    return load_codec(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"seanet": {"lookahead": 0}},
        {"highpass_hz": 50.0},
        {"seanet": {"lookahead": 2, "activation": "elu"}},
        {"quantizer": {"codebook": {"kind": "fsq", "size": 64, "dim": 2, "levels": [8, 8]}}},
    ],
)
def test_other_models_a_batch_and_fewer_codebooks(
    trainable: Codec, tmp_path: Path, example: ModuleType, changes: dict[str, Any]
) -> None:
    other = other_than(trainable, tmp_path / "model", changes)
    written = export_onnx(other, tmp_path / "x")
    assert written.equal_codes >= 0.999
    assert written.num_bytes == sum(path.stat().st_size for path in (tmp_path / "x").iterdir())
    told = page(tmp_path / "x")
    audio = 0.1 * torch.randn(3, 1, 12 * other.hop_length)
    expected = other.encode(audio)
    codes = example.Stream(tmp_path / "x", told["encoder"], 3).push(audio.numpy())
    assert (codes == expected.numpy()).mean() >= 0.99
    decoder = example.Stream(tmp_path / "x", told["decoder"], 3)
    used = torch.cat([expected, torch.full((3, expected.shape[1], other.lookahead), -1)], dim=-1)
    used[:, 2:] = -1
    late = torch.from_numpy(decoder.push(used.numpy()))
    heard = late[..., other.lookahead * other.hop_length :]
    torch.testing.assert_close(heard, other.decode(expected[:, :2]), rtol=0, atol=1e-4)


def test_all_of_it_appears_or_nothing(
    trainable: Codec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_codec(trainable, tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    command = ["export", "--onnx", "x", "--model", "small"]

    def fails(message: str, *options: str) -> None:
        before = {path for path in tmp_path.rglob("*") if "small" not in path.parts}
        assert run([*command, *options]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"error: {message}") and err.count("\n") == 1
        assert {path for path in tmp_path.rglob("*") if "small" not in path.parts} == before

    with monkeypatch.context() as patch:
        patch.setattr(export, "MIN_EQUAL_CODES", 1.1)
        fails("ONNX Runtime")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        fails("an export needs the package onnxruntime: pip install 'audiocodec[onnx]'")
    assert run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["equal_codes"] >= 0.99
    fails("x: is there already; --overwrite replaces it")
    first = Path("x/encoder.onnx").stat().st_ino
    assert run([*command, "--overwrite"]) == 0
    assert Path("x/encoder.onnx").stat().st_ino != first
    capsys.readouterr()
    Path("x/mine.txt").write_text("keep me")
    fails("x: holds mine.txt too", "--overwrite")
    Path("file").write_text("")
    with pytest.raises(CodecError, match="file: is a file; name a folder"):
        export_onnx(load_codec("small"), "file")
    with pytest.raises(CodecError, match="there is no folder none"):
        export_onnx(load_codec("small"), "none/x")
