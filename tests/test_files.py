"""An audio file to tokens and back: rate, channels, length and codes stay what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import Codec, CodecConfig, decode_file, encode_file, files, load_audio, save_codec
from audiocodec.checkpoint import load_codec
from audiocodec.errors import CodecError
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens import TokenFile


@pytest.fixture(scope="module")
def small(model: str) -> Codec:
    return load_codec(model)


@pytest.fixture(scope="module")
def exact(model: str) -> Codec:
    return load_codec(model, dtype=torch.float64)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two channels of 5 s and a bit at 44.1 kHz."""
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (44100 * 5 + 17, 2))
    soundfile.write(tmp_path / "in.wav", audio, 44100)
    return tmp_path / "in.wav"


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("samples", [0, 1, 2, 319, 320, 321, 20011])
def test_rate_channels_and_exact_length_come_back(
    tmp_path: Path, small: Codec, rate: int, samples: int
) -> None:
    channels = 1 + samples % 3
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, channels))
    soundfile.write(tmp_path / "in.wav", audio, rate)
    encoded = encode_file(tmp_path / "in.wav", tmp_path / "in.tok", small)
    back = decode_file(tmp_path / "in.tok", tmp_path / "out.wav", small)
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.samplerate, info.channels, info.frames) == (rate, channels, samples)
    for result in (encoded, back):
        assert (result.num_samples, result.channels, result.sample_rate) == (
            samples,
            channels,
            rate,
        )
        assert result.file_bytes == (tmp_path / "in.tok").stat().st_size
    with TokenFile(tmp_path / "in.tok") as tokens:
        codec_samples = -(-samples * small.sample_rate // rate)
        assert tokens.num_frames == -(-codec_samples // small.hop_length)


@pytest.mark.parametrize("block_seconds", [0.02, 0.5, 3.3, 60])
def test_blocks_of_any_size_give_the_codes_of_the_whole(
    tmp_path: Path,
    exact: Codec,
    recording: Path,
    block_seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "BLOCK_SECONDS", block_seconds)
    encode_file(recording, tmp_path / "in.tok", exact)
    audio, _ = load_audio(recording, exact.sample_rate)
    whole = exact.encode(audio.double().unsqueeze(1))
    with TokenFile(tmp_path / "in.tok") as tokens:
        np.testing.assert_array_equal(tokens.read(), whole.numpy())


@pytest.mark.parametrize("num_codebooks", [None, 1, 2])
def test_a_decoded_file_is_the_decoded_codes(
    tmp_path: Path, exact: Codec, clip: Path, num_codebooks: int | None
) -> None:
    audio, rate = load_audio(clip)
    assert rate == exact.sample_rate
    encode_file(clip, tmp_path / "in.tok", exact)
    result = decode_file(tmp_path / "in.tok", tmp_path / "out.wav", exact, num_codebooks)
    codes = exact.encode(audio.double().unsqueeze(1), num_codebooks)
    expected = exact.decode(codes, audio.shape[1])[:, 0].clip(-1, 1)
    found, _ = load_audio(tmp_path / "out.wav")
    assert (found - expected).abs().max() <= 1.01 / 32768  # one 16-bit step
    assert result.num_codebooks == codes.shape[1]
    assert result.bitrate == exact.bitrate(num_codebooks) * len(audio)


def test_fewer_codebooks_make_a_smaller_file_of_the_same_first_codes(
    tmp_path: Path, exact: Codec, recording: Path
) -> None:
    encode_file(recording, tmp_path / "all.tok", exact)
    result = encode_file(recording, tmp_path / "one.tok", exact, num_codebooks=1)
    assert result.bitrate == 2 * exact.bitrate(1)
    with TokenFile(tmp_path / "all.tok") as every, TokenFile(tmp_path / "one.tok") as first:
        np.testing.assert_array_equal(first.read(), every.read(num_codebooks=1))
        assert first.header == replace(every.header, codebook_sizes=every.header.codebook_sizes[:1])


def test_a_cut_file_is_decoded_up_to_the_cut(tmp_path: Path, exact: Codec, recording: Path) -> None:
    path = tmp_path / "in.tok"
    encode_file(recording, path, exact)
    decode_file(path, tmp_path / "whole.wav", exact)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    result = decode_file(path, tmp_path / "cut.wav", exact)
    assert result.truncated
    assert 3 < result.seconds < 3.5
    whole, _ = load_audio(tmp_path / "whole.wav")
    cut, _ = load_audio(tmp_path / "cut.wav")
    assert cut.shape == (2, result.num_samples)
    # Up to what the look-ahead and the resampler would have used beyond the cut.
    agreed = result.num_samples - 4410
    assert (cut[:, :agreed] - whole[:, :agreed]).abs().max() <= 1.01 / 32768


def test_tokens_of_another_model_are_refused_and_both_are_named(
    tmp_path: Path, small: Codec, recording: Path
) -> None:
    torch.manual_seed(1)
    save_codec(Codec(CodecConfig.model_validate(small.config.model_dump())), tmp_path / "other")
    other = load_codec(tmp_path / "other")
    encode_file(recording, tmp_path / "in.tok", small)
    with pytest.raises(CodecError) as caught:
        decode_file(tmp_path / "in.tok", tmp_path / "out.wav", other)
    for word in ("in.tok", "small", small.fingerprint, "other", other.fingerprint, "--model"):
        assert word in str(caught.value)
    assert not (tmp_path / "out.wav").exists()


def test_a_codec_without_a_fingerprint_makes_no_files(
    tmp_path: Path, codec: RuntimeCodec, recording: Path
) -> None:
    with pytest.raises(CodecError, match="save the model and load it"):
        encode_file(recording, tmp_path / "in.tok", codec)
    assert not (tmp_path / "in.tok").exists()


def test_more_codebooks_than_there_are_are_refused(
    tmp_path: Path, small: Codec, recording: Path
) -> None:
    with pytest.raises(CodecError, match="codebooks"):
        encode_file(recording, tmp_path / "in.tok", small, small.num_codebooks + 1)
    encode_file(recording, tmp_path / "in.tok", small, 1)
    with pytest.raises(CodecError, match=r"in\.tok: holds 1 codebooks; 2 asked for"):
        decode_file(tmp_path / "in.tok", tmp_path / "out.wav", small, 2)
    assert not (tmp_path / "out.wav").exists()


def test_bad_input_leaves_nothing_behind(tmp_path: Path, small: Codec, recording: Path) -> None:
    audio = np.zeros(16000 * 6)
    audio[-1] = np.nan
    soundfile.write(tmp_path / "nan.wav", audio, 16000, subtype="FLOAT")
    encode_file(recording, tmp_path / "bad.tok", small)
    damaged = bytearray((tmp_path / "bad.tok").read_bytes())
    damaged[len(damaged) * 3 // 4] ^= 1
    (tmp_path / "bad.tok").write_bytes(damaged)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CodecError, match=r"nan\.wav: a NaN"):
        encode_file(tmp_path / "nan.wav", tmp_path / "out.tok", small)
    with pytest.raises(CodecError, match=r"bad\.tok: damaged at"):
        decode_file(tmp_path / "bad.tok", tmp_path / "out.wav", small)
    with pytest.raises(CodecError, match="is the input itself"):
        encode_file(recording, recording, small)
    with pytest.raises(CodecError, match=r"\.mp3"):
        decode_file(tmp_path / "bad.tok", tmp_path / "out.mp3", small)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_progress_adds_up_to_the_length(tmp_path: Path, small: Codec, recording: Path) -> None:
    steps: list[float] = []
    result = encode_file(recording, tmp_path / "in.tok", small, progress=steps.append)
    assert len(steps) > 1
    assert sum(steps) == pytest.approx(result.seconds, abs=1e-3)
    steps.clear()
    decode_file(tmp_path / "in.tok", tmp_path / "out.wav", small, progress=steps.append)
    assert sum(steps) == pytest.approx(result.seconds, abs=1e-3)
