"""`codec verify`: a changed model, a broken promise and other golden codes are told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from audiocodec import Codec, CodecError, load_audio, load_codec, save_codec, verification
from audiocodec.bundled import CLIPS, GOLDEN_CLIP
from audiocodec.checkpoint import stated_fingerprint
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import TokenFile
from audiocodec.verification import GOLDEN_NAME, record, verify
from audiocodec_cli.main import run


@pytest.fixture
def model(trainable: Codec, tmp_path: Path) -> Path:
    save_codec(trainable, tmp_path / "small")
    return tmp_path / "small"


@pytest.fixture
def short(tmp_path: Path) -> list[Path]:
    """Two short sounds of different lengths, one of them in two channels."""
    noise = torch.Generator().manual_seed(0)
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for path, shape in zip(paths, ((7000, 1), (12345, 2)), strict=True):
        soundfile.write(path, 0.1 * torch.randn(shape, generator=noise).numpy(), 16000)
    return paths


def flip(file: Path, at: int = -1) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_the_bundled_model_is_what_it_is_said_to_be_and_gives_its_golden_codes() -> None:
    """If this fails after the bundled model was replaced on purpose: codec verify --record."""
    folder = Path(verification.__file__).parent / "models" / "speech_16khz"
    exact = load_codec("speech_16khz", dtype=torch.float64)
    assert stated_fingerprint(folder) == exact.fingerprint
    audio, rate = load_audio(GOLDEN_CLIP)
    assert rate == exact.sample_rate
    with TokenFile(folder / GOLDEN_NAME) as golden:
        assert golden.header.fingerprint == exact.fingerprint
        found = exact.encode(audio.unsqueeze(1))
        assert torch.equal(found, torch.from_numpy(golden.read()))


def test_a_sealed_model_passes_and_the_table_says_how_equal_float32_is(
    model: Path, short: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", *map(str, short), "--model", str(model), "--record"]) == 0
    out, err = capsys.readouterr()
    assert "fingerprint.txt and golden.tok are written" in err
    lines = out.splitlines()
    assert [line[:24].strip() for line in lines] == [
        "equal codes",
        "fingerprint",
        "lengths",
        "streams against whole",
        "batches against alone",
        "2 threads against 1",
        "float32 against float64",
        "golden codes",
    ]
    assert load_codec(model).fingerprint in lines[1]
    for line in (*lines[3:6], lines[7]):
        assert line.count("%") == 2 and line.endswith(" 100.000 %  ok"), line
    assert run(["verify", *map(str, short), "--model", str(model), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["ok"]) == (str(model), True)
    checks = told["checks"]
    assert {check["float64"] for check in checks} == {1.0, None}
    assert all(0.99 < (check["float32"] or 1) <= 1 for check in checks)


def test_a_model_without_a_seal_is_told_how_to_get_one(model: Path, short: list[Path]) -> None:
    (model / "fingerprint.txt").unlink()
    checks = {check.name: check for check in verify(model, short)}
    assert "not recorded; --record does it" in checks["fingerprint"].detail
    assert "--record makes them" in checks["golden codes"].detail
    assert not any(check.failure for check in checks.values())


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_changed_bit_fails(
    model: Path, name: str, short: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "config.json":  # a change that leaves the architecture's shapes alone
        file = model / name
        file.write_text(file.read_text().replace('"lookahead": 1', '"lookahead": 0'))
    else:
        flip(model / name)
    assert run(["verify", str(short[0]), "--model", str(model)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {model}: config or weights have changed since they were saved")
    assert err.count("\n") == 1


def test_golden_codes_of_other_weights_fail(
    model: Path, short: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    record(model)
    flip(model / "model.safetensors")
    (model / "fingerprint.txt").unlink()
    assert run(["verify", str(short[0]), "--model", str(model)]) == 1
    out, err = capsys.readouterr()
    assert "golden codes" in out and "FAILED" in out
    assert "of model" in err and "--record" in err


def test_other_codes_than_the_golden_ones_fail(
    model: Path, short: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(model)
    monkeypatch.setattr(verification, "GOLDEN_CLIP", CLIPS / "male.flac")
    failures = {check.name: check.failure for check in verify(model, short[:1]) if check.failure}
    assert list(failures) == ["golden codes"]
    assert "are equal in float64" in failures["golden codes"]


def test_a_broken_stream_fails(
    model: Path,
    short: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    push = verification.StreamEncoder.push

    def forgetful(self: verification.StreamEncoder, audio: torch.Tensor) -> torch.Tensor:
        self._state = type(self._state)()
        return push(self, audio)

    monkeypatch.setattr(verification.StreamEncoder, "push", forgetful)
    assert run(["verify", *map(str, short), "--model", str(model)]) == 1
    out, err = capsys.readouterr()
    assert [line[:7] for line in out.splitlines() if "FAILED" in line] == ["streams"]
    assert err.startswith("error: streams against whole: only ")
    assert err.count("\n") == 1


def test_a_file_without_audio_is_named(model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", torch.zeros(0, 1).numpy(), 16000)
    with pytest.raises(CodecError, match=r"none\.wav: holds no audio"):
        verify(model, [tmp_path / "none.wav"])


def test_sealing_again_after_a_change_on_purpose(model: Path, short: list[Path]) -> None:
    record(model)
    other = model.parent / "other"
    shutil.copytree(model, other)
    flip(other / "model.safetensors")
    with pytest.raises(CodecError, match="have changed"):
        verify(other, short[:1])
    record(other)
    assert not any(check.failure for check in verify(other, short[:1]))
    assert load_codec(other).fingerprint != load_codec(model).fingerprint


def test_batches_stay_small_however_many_files_there_are(
    model: Path, short: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    encode = RuntimeCodec.encode

    def counting(self: RuntimeCodec, audio: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        rows.append(len(audio))
        return encode(self, audio, *rest, **named)

    monkeypatch.setattr(RuntimeCodec, "encode", counting)
    monkeypatch.setattr(verification, "BATCH", 4)
    assert not any(check.failure for check in verify(model, short * 3))
    assert max(rows) == 4
