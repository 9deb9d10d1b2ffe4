"""A format that audio is read from is one class and one registration."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import CodecError, encode_file, load_audio, load_codec
from audiocodec.audio import audio_info, formats, open_writer
from audiocodec.audio.source import AudioFormat, Samples, Source
from audiocodec.audio.streams import AudioInput


class TextSource(Source):
    """Samples as text: a first line `#text RATE`, then a sample a line."""

    def __init__(self, file: AudioInput) -> None:
        stream = file.seekable_file()
        stream.seek(file.start)
        head, *lines = stream.read().decode().splitlines()
        self.samples = np.array(lines, np.float32)[:, None]
        super().__init__(int(head.split()[1]), channels=1, num_samples=len(lines))

    def read(self, size: int) -> Samples:
        block, self.samples = self.samples[:size], self.samples[size:]
        return block


TEXT = AudioFormat((".text",), lambda file: file.head.startswith(b"#text "), TextSource)


@pytest.fixture
def text_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(formats, "FORMATS", [TEXT, *formats.FORMATS])
    path = tmp_path / "a.text"
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 20000)
    path.write_text("\n".join(["#text 8000", *(f"{sample:.6f}" for sample in samples)]))
    return path


def test_a_new_format_is_read_from_files_memory_and_pipes(text_file: Path) -> None:
    expected = torch.tensor([float(line) for line in text_file.read_text().splitlines()[1:]])
    audio, sample_rate = load_audio(text_file)
    assert sample_rate == 8000
    assert torch.equal(audio, expected[None])
    assert audio_info(text_file).num_samples == 20000
    assert load_audio(io.BytesIO(text_file.read_bytes()), 16000)[0].shape == (1, 40000)
    reader, writer = os.pipe()
    with open(writer, "wb") as stream:  # a pipe holds 64 KiB
        stream.write(b"\n".join(text_file.read_bytes().splitlines()[:1001]))
    with open(reader, "rb") as stream:
        assert torch.equal(load_audio(stream)[0], expected[None, :1000])


def test_a_new_format_is_encoded(text_file: Path, tmp_path: Path, model: str) -> None:
    assert encode_file(text_file, tmp_path / "a.tok", load_codec(model)).num_samples == 20000


def test_without_the_registration_it_is_not_audio(
    text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with pytest.raises(CodecError, match="not an audio file that can be read"):
        load_audio(text_file)


def test_one_call_opens_the_writer_of_a_path_or_a_stream(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3000)).astype(np.float32)
    memory, raw = io.BytesIO(), io.BytesIO()
    for target, without_header in ((tmp_path / "a.flac", False), (memory, False), (raw, True)):
        with open_writer(target, 16000, 2, raw=without_header) as writer:
            writer.write(audio[:, :1000])
            writer.write(audio[:, 1000:])
        assert writer.samples_written == 3000
    memory.seek(0)
    assert torch.equal(load_audio(memory)[0], load_audio(tmp_path / "a.flac")[0])
    assert memory.getvalue()[44:] == raw.getvalue()
