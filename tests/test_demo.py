"""`codec demo` writes audio, tokens and a picture, and says what to listen to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.pictures import draw_spectrograms
from audiocodec.runtime import RuntimeCodec
from audiocodec_cli.main import run


def test_the_demo_writes_audio_tokens_and_a_picture(
    model: str, codec: RuntimeCodec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "demo"
    assert run(["demo", "--model", model, "--out", str(out), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    original = soundfile.info(output["original"])
    assert [level["num_codebooks"] for level in output["levels"]][-1] == codec.num_codebooks
    for level in output["levels"]:
        decoded = soundfile.info(level["wav"])
        assert (decoded.frames, decoded.samplerate) == (original.frames, original.samplerate)
        assert Path(level["tokens"]).stat().st_size == level["bytes"]
        assert "stoi" in level
    assert Path(output["picture"]).read_bytes().startswith(b"\x89PNG")
    assert len(list(out.iterdir())) == 2 + 2 * len(output["levels"])


def test_the_demo_prints_what_to_listen_to_and_what_to_do_next(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "--clip", "male", "--model", model, "--out", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "LibriSpeech, CC BY 4.0" in output
    assert f"Listen to  {tmp_path / 'original.wav'}" in output
    assert "codec encode" in output


def test_a_file_in_place_of_the_folder_is_an_error(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert run(["demo", "--model", model, "--out", str(tmp_path / "file")]) == 1
    assert "error: --out" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_bundled_clips_are_small_and_attributed() -> None:
    import audiocodec

    clips = Path(audiocodec.__file__).parent / "clips"
    output = (clips / "README.md").read_text()
    for clip in clips.glob("*.flac"):
        info = soundfile.info(clip)
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert 5 <= info.duration <= 10
        assert clip.name in output
    assert "CC BY 4.0" in " ".join(output.split())
    assert sum(clip.stat().st_size for clip in clips.iterdir()) < 400_000


def test_a_spectrogram_for_each_signal_with_its_title() -> None:
    tone = np.sin(np.arange(16_000) * 0.5).astype(np.float32)
    figure = draw_spectrograms({"tone": tone, "short": tone[:10]}, 16_000)
    titles = [panel.get_title() for panel in figure.axes]
    assert titles[:2] == ["tone", "short"]
