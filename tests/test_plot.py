"""`codec plot` draws a recording, its reconstruction, codes, bits and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import CodecError, encode_file, load_codec, save_audio
from audiocodec.evaluation import inspect_file, plot_file, score_pair
from audiocodec.pictures import Coding, draw_coding
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import TokenFile
from audiocodec.tokens.context.bits import bits_by_stage, bits_of_codes
from audiocodec_cli.main import run


@pytest.fixture
def saved(model: str) -> RuntimeCodec:
    return load_codec(model)


@pytest.fixture
def audio(here: Path, speech: torch.Tensor) -> Path:
    save_audio("speech.wav", speech[0, :, :32_000], 16_000)
    return Path("speech.wav")


def panels(coding: Coding) -> list[str]:
    labels = [panel.get_ylabel().replace("\n", " ") for panel in draw_coding(coding).axes]
    return [label for label in labels if label]


def test_audio_and_its_tokens_have_the_same_codes_and_reconstruction(
    audio: Path, saved: RuntimeCodec
) -> None:
    encode_file(audio, "speech.tok", saved, 2)
    whole = inspect_file(audio, saved, 2)
    alone = inspect_file("speech.tok", saved)
    both = inspect_file("speech.tok", saved, reference=audio)
    assert (whole.codes == alone.codes).all()
    np.testing.assert_allclose(whole.reconstruction, alone.reconstruction, atol=1e-5)
    assert both.errors is not None
    assert alone.errors is None
    assert whole.reference is not None
    pair = whole.reconstruction[None], whole.reference[None]
    distance = score_pair(*pair, saved.sample_rate)[1]["log_mel_distance"]
    assert np.mean(both.errors) == pytest.approx(distance, rel=1e-3)
    assert alone.bits["fixed"].tolist() == [12.0] * whole.codes.shape[1]
    assert panels(alone) == ["waveform", "reconstruction Hz", "codes codebook", "bits per frame"]
    assert {"reference Hz", "log-mel error, dB"} == set(panels(both)) - set(panels(alone))


def test_bits_with_context_are_those_of_the_file_and_of_each_stage(here: Path, clip: Path) -> None:
    codec = load_codec("speech_16khz")
    encode_file(clip, "speech.tok", codec, 2)
    coding = inspect_file("speech.tok", codec)
    assert codec.context is not None
    with TokenFile("speech.tok", codec.context) as tokens:
        stages, frames = bits_by_stage(tokens, codec.context), tokens.num_frames
        in_file = 8 * tokens.payload_bytes
        bits = bits_of_codes(tokens.read(), tokens.header.block_frames, codec.context)
    assert bits[0].mean(axis=1).tolist() == pytest.approx(stages)
    assert coding.bits["context"].sum() == pytest.approx(frames * sum(stages))
    assert coding.bits["context"].sum() == pytest.approx(in_file, rel=0.02)


def test_a_part_is_what_the_whole_has_there(audio: Path, saved: RuntimeCodec) -> None:
    whole, part = inspect_file(audio, saved), inspect_file(audio, saved, start=0.5, end=1.0)
    first = round(0.5 * saved.frame_rate)
    count = part.codes.shape[1]
    assert (part.codes == whole.codes[:, first : first + count]).all()
    samples = slice(first * saved.hop_length, (first + count) * saved.hop_length)
    assert (part.reconstruction == whole.reconstruction[samples]).all()
    assert part.start == pytest.approx(0.5)
    with pytest.raises(CodecError, match=r"lasts 2\.00 s; the part from 3 s"):
        inspect_file(audio, saved, start=3)


@pytest.mark.parametrize("samples", [0, 1, 16_000])
def test_silence_and_nothing_are_drawn_without_an_error(
    here: Path, saved: RuntimeCodec, samples: int
) -> None:
    save_audio("silence.wav", torch.zeros(2, samples), 16_000)
    figure = plot_file("silence.wav", saved)
    figure.savefig("silence.png")
    assert "the first of 2 channels" in figure.get_suptitle()


def test_the_command_writes_a_picture_and_replaces_none(
    audio: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plot", "speech.wav", "--model", model, "-n", "1"]) == 0
    assert capsys.readouterr().out == "speech.wav -> speech.png\n"
    assert Path("speech.png").read_bytes().startswith(b"\x89PNG")
    assert run(["plot", "speech.wav", "--model", model]) == 1
    assert "speech.png: is there already; --overwrite" in capsys.readouterr().err
    assert run(["plot", "speech.wav", "--model", model, "-o", "a.svg"]) == 0
    assert "<svg" in Path("a.svg").read_text()
    for words, message in (
        (["-o", "a.bmp"], "a.bmp: ends with none of .png .svg .pdf"),
        (["-o", "b.png", "--reference", "speech.wav"], "is audio and its own reference"),
    ):
        assert run(["plot", "speech.wav", "--model", model, *words]) == 1
        assert message in capsys.readouterr().err
    encode_file(audio, "speech.tok", load_codec(model))
    assert run(["plot", "speech.tok", "-o", "c.png"]) == 1
    assert "name the model that made it with --model" in capsys.readouterr().err
    save_audio("short.wav", torch.zeros(1, 800), 16_000)
    words = ["--reference", "short.wav", "-o", "d.png"]
    assert run(["plot", "speech.tok", "--model", model, *words]) == 1
    assert "short.wav: lasts 0.05 s, and speech.tok 2.00 s" in capsys.readouterr().err
