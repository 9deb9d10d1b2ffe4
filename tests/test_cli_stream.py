"""`codec stream`: from file to file, from a fake microphone, and without one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from contexts import random_context

from audiocodec import load_audio, load_codec
from audiocodec_cli import meter
from audiocodec_cli.main import run


def record(path: str, samples: int, rate: int = 16000, channels: int = 1) -> None:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, channels))
    soundfile.write(path, audio, rate)


@pytest.mark.parametrize(
    ("samples", "rate", "channels"), [(20011, 16000, 1), (22057, 22050, 2), (100, 16000, 1)]
)
def test_file_to_file_in_live_pieces(
    here: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
    samples: int,
    rate: int,
    channels: int,
) -> None:
    record("in.wav", samples, rate, channels)
    arguments = ["stream", "--input", "in.wav", "--output", "out.wav", "-n", "3", "--model", model]
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{samples / rate:.2f} s in " in err
    assert "x real time" in err and "latency 40 ms" in err
    decoded, out_rate = load_audio("out.wav")
    audio, _ = load_audio("in.wav", 16000)
    assert (out_rate, decoded.shape) == (16000, audio.shape)
    codec = load_codec(model)
    whole = codec.decode(codec.encode(audio.unsqueeze(1), 3), audio.shape[1])[:, 0].clip(-1, 1)
    close = ((decoded - whole).abs() <= 2 / 32768).float().mean()
    assert close > 0.95  # a code or two may differ in float32
    assert run(arguments) == 1
    assert "out.wav: is there already; --overwrite" in capsys.readouterr().err


@pytest.fixture(scope="module")
def coded(model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model with a context model."""
    folder = tmp_path_factory.mktemp("coded") / "small"
    shutil.copytree(model, folder)
    random_context(load_codec(model).codebook_sizes).save(folder / "context.safetensors")
    return str(folder)


def test_packets_bring_the_same_audio_in_any_coding(
    here: Path, model: str, coded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in.wav", 16000, channels=2)
    for coding in ("fixed", "context"):
        words = ["stream", "--input", "in.wav", "--output", f"{coding}.wav", "--coding", coding]
        assert run([*words, "--model", coded]) == 0
        err = capsys.readouterr().err
        # 2 channels of 4 codebooks of 6 bits, 50 times a second; a head of 5 bytes in each packet.
        constant = "codes 2.40 kbit/s, with the heads of their packets 4.40"
        assert (constant in err) == (coding == "fixed")
    assert Path("fixed.wav").read_bytes() == Path("context.wav").read_bytes()
    assert run(["stream", "--input", "in.wav", "--output", "a.wav", "--model", model]) == 0
    assert Path("a.wav").read_bytes() == Path("fixed.wav").read_bytes()
    arguments = ["stream", "--input", "in.wav", "--output", "b.wav", "--model", model]
    assert run([*arguments, "--coding", "context"]) == 1
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("error: model small has no context model")


def test_lost_packets_are_concealed_up_to_the_next_restart(
    here: Path, coded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in.wav", 32000)
    found = {}
    for coding, restart in (("fixed", "9"), ("context", "0.02"), ("context", "0.2")):
        words = ["stream", "--input", "in.wav", "--output", "o.wav", "--overwrite"]
        words += ["--coding", coding, "--restart", restart, "--loss", "5", "--model", coded]
        assert run(words) == 0
        line = capsys.readouterr().err.splitlines()[-1]
        numbers = re.search(r"; (\d+) of 100 packets lost, (\d+) concealed", line)
        assert numbers, line
        found[coding, restart] = int(numbers[1]), int(numbers[2])
    lost = found["fixed", "9"]
    assert 0 < lost[0] == lost[1] < 15
    assert found["context", "0.02"] == lost
    assert lost[1] < found["context", "0.2"][1] <= 10 * lost[0]
    assert load_audio("o.wav")[0].shape[1] == 32000


class Error(Exception):
    """sounddevice's PortAudioError."""


def fake_devices(monkeypatch: pytest.MonkeyPatch, **card: Any) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(PortAudioError=Error, **card))


def test_from_microphone_to_loudspeaker_until_ctrl_c(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = np.random.default_rng(0).uniform(-0.1, 0.1, (10, 320, 1)).astype(np.float32)
    chunks, played = iter(recorded), []

    class Card:
        def __init__(self, samplerate: int, channels: int, dtype: str) -> None:
            assert (samplerate, channels, dtype) == (16000, 1, "float32")

        def __enter__(self) -> Card:
            return self

        def __exit__(self, *exception: object) -> None: ...

        def read(self, frames: int) -> tuple[np.ndarray, bool]:
            assert frames == 320
            chunk = next(chunks, None)
            if chunk is None:
                raise KeyboardInterrupt
            return chunk, False

        def write(self, audio: np.ndarray) -> None:
            played.append(audio)

    fake_devices(monkeypatch, InputStream=Card, OutputStream=Card)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(meter, "METER_SECONDS", 0.0)
    assert run(["stream", "--model", model]) == 0
    err = capsys.readouterr().err
    assert "dB, " in err  # the meter
    assert "0.20 s in 10 pieces" in err
    assert [len(audio) for audio in played] == [0, *[320] * 9, 320]
    codec = load_codec(model)
    audio = torch.from_numpy(recorded.reshape(1, 1, -1))
    whole = codec.decode(codec.encode(audio))[0, 0].numpy()
    np.testing.assert_allclose(np.concatenate(played)[:, 0], whole, atol=1e-3)


@pytest.mark.parametrize("given", [[], ["--input", "in.wav"], ["--output", "out.wav"]])
def test_the_error_about_a_missing_device_names_the_extra_and_the_flags(
    here: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
) -> None:
    record("in.wav", 1000)

    def absent(**_: object) -> None:
        raise Error("Error querying device -1")

    def error() -> str:
        assert run(["stream", *given, "--model", model]) == 1
        return capsys.readouterr().err

    monkeypatch.setitem(sys.modules, "sounddevice", None)
    message = error()
    assert "audiocodec[live]" in message and "--input FILE and --output FILE" in message
    fake_devices(monkeypatch, InputStream=absent, OutputStream=absent)
    message = error()
    assert "can be opened (Error querying device -1)" in message and "--output FILE" in message
    assert message.count("\n") == 1
    assert not Path("out.wav").exists()


@pytest.mark.parametrize(("power", "level"), [(1.0, 0), (0.0, -60), (0.01, -20), (1e-12, -60)])
def test_the_level_is_in_decibels_of_full_scale(power: float, level: float) -> None:
    assert meter.decibels(power) == pytest.approx(level)


def test_the_input_is_not_replaced_by_its_own_result(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record("in.wav", 1000)
    before = Path("in.wav").read_bytes()
    arguments = ["--input", "in.wav", "--output", "in.wav", "--overwrite", "--model", model]
    assert run(["stream", *arguments]) == 1
    assert "in.wav: is the input itself" in capsys.readouterr().err
    assert Path("in.wav").read_bytes() == before


def test_from_stdin_to_stdout(here: Path, model: str) -> None:
    """A WAV through pipes has the samples of a WAV from file to file; so have bare samples."""
    record("in.wav", 20011, 22050, 2)
    pcm, _ = soundfile.read("in.wav", dtype="int16")
    Path("in.raw").write_bytes(pcm.astype("<i2").tobytes())
    codec = f"{sys.executable} -m audiocodec_cli -q stream --model {model} -n 3"
    raw = "--raw 22050 --raw-channels 2"
    program = f"""
    {codec} --input in.wav --output file.wav
    cat in.wav | {codec} --input - --output - > pipe.wav
    cat in.raw | {codec} --input - {raw} --output raw.wav
    """
    result = subprocess.run(["bash", "-euc", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    samples = soundfile.read("file.wav", dtype="int16")[0]
    assert len(samples) == -(-20011 * 16000 // 22050)
    assert (soundfile.read("raw.wav", dtype="int16")[0] == samples).all()
    assert Path("pipe.wav").read_bytes()[44:] == samples.astype("<i2").tobytes()


def test_raw_describes_stdin_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stream", "--input", "in.wav", "--raw", "8000", "--output", "out.wav"]) == 2
    assert "--raw describes stdin: give --input -" in capsys.readouterr().err
