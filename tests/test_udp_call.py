"""The example of a call over UDP: both ends, on this machine, with and without loss."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from audiocodec import Codec, load_audio, load_codec, save_audio, save_codec

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "udp_call.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SAMPLES = 16100


@pytest.fixture(scope="module")
def files(trainable: Codec, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random model and a second of speech that ends within a frame."""
    folder = tmp_path_factory.mktemp("call")
    save_codec(trainable, folder / "model")
    audio, rate = load_audio(clip, 16000)
    save_audio(folder / "in.wav", audio[:1, 8000 : 8000 + SAMPLES], rate)
    return folder


def call(folder: Path, sending: list[str], receiving: list[str]) -> tuple[torch.Tensor, str, str]:
    """The output, and what both ends say."""
    start = [sys.executable, str(EXAMPLE)]
    model = ["--model", str(folder / "model")]
    with subprocess.Popen(
        [*start, "receive", "127.0.0.1:0", "-o", "out.wav", "--timeout", "60", *model, *receiving],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as receiver:
        try:
            assert receiver.stdout
            found = re.search(r"port (\d+)", receiver.stdout.readline())
            assert found
            sender = subprocess.run(
                [*start, "send", "in.wav", f"127.0.0.1:{found[1]}", *model, *sending],
                cwd=folder,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert sender.returncode == 0, sender.stderr
            said, errors = receiver.communicate(timeout=120)
            assert receiver.returncode == 0, errors
        finally:
            receiver.kill()
    return load_audio(folder / "out.wav")[0], sender.stdout, said


def test_a_call_without_loss_is_the_codec_itself(files: Path) -> None:
    """A long delay, so that a busy machine makes no packet late."""
    output, _, said = call(files, ["--jitter", "50"], ["--delay", "200"])
    codec = load_codec(files / "model")
    audio, _ = load_audio(files / "in.wav")
    due = codec.decode(codec.encode(audio[:, None]), SAMPLES)[:, 0]
    assert said.startswith("51 arrived, 0 damaged, 0 lost, 0 late, 0 duplicate, 0 undecoded; 0 ")
    torch.testing.assert_close(output, due.clamp(-1, 1), atol=1e-4, rtol=0)


def test_a_call_with_loss_has_the_length_of_its_input(files: Path) -> None:
    output, sent, said = call(
        files, ["--loss", "20", "--jitter", "40", "--frames", "2", "--seed", "1"], ["--delay", "4"]
    )
    assert output.shape == (1, SAMPLES)
    assert re.match(r"26 packets; of \d+ datagrams [1-9]\d* lost on purpose", sent)
    assert not said.endswith("; 0 frames concealed\n")


def test_mistakes_are_one_line(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    for words, message in (
        (["send", "in.wav", "localhost"], "error: localhost: give HOST:PORT of the receiver"),
        (["send", "no.wav", "127.0.0.1:9"], "error: no.wav"),
        (["receive", "127.0.0.1:0", "-o", "x.wav", "--timeout", "0"], "error: nobody called"),
    ):
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *words, "--model", "model"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(EXAMPLE), run_name="__main__")
        text = str(ended.value.code)
        assert ended.value.code != 0 and len(text.splitlines()) == 1
        assert text.startswith(message)
