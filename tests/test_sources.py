"""Audio of any kind from a path, a pipe or memory is the same audio."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, CodecError, decode_file, encode_file, load_audio, load_codec
from audiocodec import save_audio as save
from audiocodec.audio import AudioReader, AudioWriter, audio_info
from audiocodec_cli.main import run

KINDS: dict[str, dict[str, str]] = {
    "wav": {"format": "WAV"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
    "aiff": {"format": "AIFF"},
    "au": {"format": "AU"},
    "caf": {"format": "CAF"},
}


def noise(samples: int, channels: int) -> np.ndarray:
    return np.random.default_rng(samples).uniform(-0.4, 0.4, (samples, channels))


def made(kind: str, samples: int = 40000, channels: int = 2) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(samples, channels), 16000, **KINDS[kind])
    return file.getvalue()


@contextmanager
def piped(data: bytes) -> Iterator[int]:
    """The end of a pipe that these bytes come out of."""
    reader, writer = os.pipe()

    def send() -> None:
        with open(writer, "wb") as out:
            out.write(data)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield reader
    finally:
        thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_path_pipe_and_memory_give_the_same_audio(tmp_path: Path, kind: str) -> None:
    data = made(kind)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    expected, rate = load_audio(path)
    assert (expected.shape, rate) == ((2, 40000), 16000)
    with piped(data) as end, open(end, "rb") as stream:
        assert torch.equal(load_audio(stream)[0], expected)
    memory = io.BytesIO(b"..." + data)
    memory.seek(3)
    assert audio_info(memory).num_samples == 40000
    memory.seek(3)
    assert torch.equal(load_audio(memory)[0], expected)
    assert not memory.closed


@pytest.mark.parametrize("kind", ["wav", "flac", "opus", "mp3"])
def test_the_command_reads_any_kind_from_stdin(
    here: Path, model: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    data = made(kind)
    Path(f"in.{kind}").write_bytes(data)
    own = ["--model", model, "--exact"]
    assert run(["encode", f"in.{kind}", "in.tok", *own]) == 0
    with piped(data) as end:
        monkeypatch.setattr("sys.stdin", open(end))  # noqa: SIM115
        assert run(["encode", "-", "piped.tok", *own]) == 0
    assert Path("piped.tok").read_bytes() == Path("in.tok").read_bytes()


def test_an_au_or_aiff_of_a_stopped_recorder_is_read_whole() -> None:
    for kind, at in (("au", 8), ("aiff", 4)):
        data = made(kind)
        for size in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
            live = data[:at] + size + data[at + 4 :]
            expected, _ = load_audio(io.BytesIO(data))
            assert torch.equal(load_audio(io.BytesIO(live))[0], expected)


@pytest.mark.parametrize("kind", ["aiff", "au"])
def test_a_cut_aiff_or_au_is_cut_short(kind: str) -> None:
    with pytest.raises(CodecError, match="cut short at"):
        load_audio(io.BytesIO(made(kind)[:-2000]))


def test_a_full_temporary_folder_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with (
        piped(made("flac", 1000)) as end,
        open(end, "rb") as stream,
        pytest.raises(CodecError, match=r"stdin: needs a temporary file.* \(No space left.*TMPDIR"),
    ):
        load_audio(stream)


@pytest.mark.parametrize("format", [None, "WAV", "flac"])
def test_audio_is_saved_into_memory(format: str | None) -> None:
    file = io.BytesIO(b"head")
    file.seek(4)
    audio = torch.from_numpy(noise(1000, 2).T.astype(np.float32))
    save(file, audio, 8000, format)
    assert not file.closed
    file.seek(4)
    assert file.getvalue()[4:8] == (b"fLaC" if format == "flac" else b"RIFF")
    found, rate = load_audio(file)
    assert rate == 8000
    assert (found - audio).abs().max() <= 0.51 / 32768


def test_a_format_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="<BytesIO>: cannot write `MP3` audio; the format is WAV"):
        save(io.BytesIO(), torch.zeros(1, 10), 8000, "MP3")
    save(tmp_path / "a.x", torch.zeros(1, 10), 8000, "FLAC")
    assert (tmp_path / "a.x").read_bytes()[:4] == b"fLaC"


@pytest.mark.parametrize("target", ["a.flac", "memory"])
def test_no_message_names_the_temporary_file(here: Path, target: str) -> None:
    place: Any = io.BytesIO() if target == "memory" else target
    for channels, rate in ((9, 16000), (1, 2**20 + 1), (1, 4_000_000_000)):
        with pytest.raises(CodecError) as caught:
            save(place, torch.zeros(channels, 10), rate, "FLAC")
        name = "<BytesIO>" if target == "memory" else "a.flac"
        assert str(caught.value).startswith(f"{name}: cannot be written as FLAC with {channels} ch")
        assert ".codec-" not in str(caught.value)
        assert ".part" not in str(caught.value)
        if channels == 9:
            assert str(caught.value).endswith("FLAC holds 8 channels at most, write a .wav")
    assert list(here.iterdir()) == []


def test_failing_writes_name_the_file_that_was_asked_for(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: soundfile.SoundFile, data: Any) -> None:
        raise soundfile.LibsndfileError(2, prefix=f"Error writing {self.name!r}: ")

    monkeypatch.setattr(soundfile.SoundFile, "write", fail)
    with pytest.raises(CodecError) as caught, AudioWriter("a.wav", 16000, 1) as writer:
        writer.write(np.zeros((1, 10), np.float32))
    assert str(caught.value).startswith("a.wav: cannot be written to its end")
    assert ".codec-" not in str(caught.value)


def test_tokens_and_audio_stay_in_memory(model: str, exact: Codec) -> None:
    tokens, audio = io.BytesIO(), io.BytesIO()
    made_tokens = encode_file(io.BytesIO(made("flac")), tokens, exact)
    tokens.seek(0)
    decoded = decode_file(tokens, audio, exact)
    assert made_tokens.num_samples == decoded.num_samples == 40000
    assert not tokens.closed and not audio.closed
    # The header states the true length, which nobody knew when it was written.
    info = soundfile.info(io.BytesIO(audio.getvalue()))
    assert (info.frames, info.channels) == (40000, 2)
    assert audio.getvalue()[40:44] == (160000).to_bytes(4, "little")
    audio.seek(0)
    assert load_audio(audio)[0].shape == (2, 40000)


@pytest.fixture(scope="module")
def exact(model: str) -> Codec:
    return load_codec(model, dtype=torch.float64)


def test_a_reader_says_how_loud_its_input_is() -> None:
    file = io.BytesIO()
    audio = np.zeros((30000, 1))
    audio[20000] = -3
    soundfile.write(file, audio, 16000, "FLOAT", format="WAV")
    file.seek(0)
    with AudioReader(file, 8000) as reader:
        list(reader.blocks(0.1))
        assert reader.peak == 3
