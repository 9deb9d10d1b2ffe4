"""What encode, decode and token files take: arrays and tensors as people have them."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import audiocodec
from audiocodec import (
    Codec,
    CodecError,
    StreamDecoder,
    StreamEncoder,
    TokenFile,
    TokenHeader,
    TokenWriter,
    decode_file,
    encode_file,
    load_codec,
    pack,
    save_codes,
    token_header,
    unpack,
)
from audiocodec.runtime import RuntimeCodec

HOP = 320


@pytest.fixture(scope="module")
def loaded(model: str) -> RuntimeCodec:
    return load_codec(model)


@pytest.fixture(scope="module")
def exact(model: str) -> RuntimeCodec:
    return load_codec(model, dtype=torch.float64)


@pytest.fixture(scope="module")
def audio() -> Tensor:
    """[1, 1, T] in steps of 2^-10, so that half precision holds it."""
    noise = torch.randn(1, 1, 3500, generator=torch.Generator().manual_seed(0))
    return (0.1 * noise).clamp(-0.99, 0.99).mul(1024).round() / 1024


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["tensor", "array"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_audio_of_any_shape_precision_and_kind_has_the_same_codes(
    loaded: RuntimeCodec, audio: Tensor, dtype: torch.dtype, kind: str, dims: int
) -> None:
    given: Any = audio.to(dtype).reshape(*[1] * (dims - 1), -1)
    given = given.numpy() if kind == "array" else given
    expected = loaded.encode(audio)
    codes = loaded.encode(given)
    assert codes.shape == (1, loaded.num_codebooks, 11) and codes.dtype == torch.int64
    assert torch.equal(codes, expected)
    encoder = StreamEncoder(loaded)
    pushed = torch.cat([encoder.push(given), encoder.flush()], dim=-1)
    assert torch.equal(pushed, expected)


def test_bfloat16_is_taken_as_the_numbers_that_it_holds(
    loaded: RuntimeCodec, audio: Tensor
) -> None:
    given = audio.bfloat16()
    assert torch.equal(loaded.encode(given), loaded.encode(given.float()))


def test_how_an_array_lies_in_memory_does_not_matter(loaded: RuntimeCodec, audio: Tensor) -> None:
    samples = audio[0, 0].numpy()
    wide = np.stack([samples, samples], axis=1)
    fixed = samples.copy()
    fixed.setflags(write=False)
    expected = loaded.encode(audio)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PyTorch warns of arrays that may not be written
        for given in (
            wide[:, 0],
            samples[::-1].copy()[::-1],
            samples.astype(">f4"),
            samples.astype(np.longdouble),
            fixed,
            np.asfortranarray(samples[None, None]),
            torch.from_numpy(wide)[:, 0],
        ):
            before = given.copy() if isinstance(given, np.ndarray) else given.clone()
            assert torch.equal(loaded.encode(given), expected)
            assert (before == given).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            torch.zeros(2, 400),
            r"not \[2, 400\]; audio\[:, None\] makes each row an item; .*audio.T",
        ),
        (np.zeros((400, 2)), r"not \[400, 2\]; .*audio.T first"),
        (torch.zeros(3, 2, 400), r"not \[3, 2, 400\]; audio.reshape\(-1, 1, audio.shape\[-1\]\)"),
        (torch.zeros(()), r"audio must be \[batch, 1, samples\], not \[\]"),
        (np.zeros(400, np.int16), r"float in \[-1, 1\], not torch.int16; divide int16 by 32768"),
        (torch.zeros(400, dtype=torch.bool), "not torch.bool"),
        (np.zeros(400, np.complex128), "not torch.complex64"),
        (np.array(["a"]), "not an array of <U1"),
        ([0.0] * 400, "a tensor or a NumPy array .*, not list"),
        (None, "not NoneType"),
    ],
)
def test_errors_about_audio_name_the_problem_and_the_remedy(
    loaded: RuntimeCodec, given: Any, words: str
) -> None:
    for take in (loaded.encode, StreamEncoder(loaded).push):
        with pytest.raises(CodecError, match=words):
            take(given)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_audio_at_another_rate_has_the_codes_of_its_file(
    exact: RuntimeCodec, tmp_path: Path, rate: int
) -> None:
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, (2 * rate // 3, 2)).astype(np.float32)
    samples = np.rint(samples * 32768) / 32768
    soundfile.write(tmp_path / "in.wav", samples, rate)
    encode_file(tmp_path / "in.wav", tmp_path / "in.tok", exact)
    with TokenFile(tmp_path / "in.tok") as tokens:
        expected = torch.from_numpy(tokens.read())
    assert torch.equal(exact.encode(samples.T[:, None], sample_rate=rate), expected)
    alone = exact.encode(torch.from_numpy(samples[:, 1]), sample_rate=rate)
    assert torch.equal(alone, expected[1:])


def test_a_sample_rate_is_resampled_from_or_refused(loaded: RuntimeCodec, audio: Tensor) -> None:
    expected = loaded.encode(audio)
    for rate in (16000, 16000.0, np.int64(16000), None):
        assert torch.equal(loaded.encode(audio, sample_rate=rate), expected)
    for rate in (0, 16, -8000, 44100.5, "44k", True):
        with pytest.raises(CodecError, match="sample_rate must be a whole number of Hz"):
            loaded.encode(audio, sample_rate=rate)
    with pytest.raises(CodecError, match="lengths need audio at 16000 Hz, not 8000; resample"):
        loaded.encode(audio, sample_rate=8000, lengths=[3])
    assert loaded.encode(audio[..., :0], sample_rate=8000).shape == (1, 4, 0)
    assert loaded.encode(audio[..., :1], sample_rate=8000).shape == (1, 4, 1)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
@pytest.mark.parametrize("kind", ["tensor", "array"])
@pytest.mark.parametrize("dims", [2, 3])
def test_codes_of_any_width_and_kind_give_the_same_audio(
    loaded: RuntimeCodec, audio: Tensor, dtype: type, kind: str, dims: int
) -> None:
    codes = loaded.encode(audio)
    given: Any = codes.numpy().astype(dtype)[(0,) * (3 - dims)]
    given = torch.from_numpy(given) if kind == "tensor" else given
    expected = loaded.decode(codes, 3500)
    assert torch.equal(loaded.decode(given, 3500), expected)
    decoder = StreamDecoder(loaded)
    decoded = torch.cat([decoder.push(given), decoder.flush()], dim=-1)[..., :3500]
    torch.testing.assert_close(decoded, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros(3, np.int64), r"not \[3\]; of one codebook give codes\[None\]"),
        (np.zeros((4, 3)), "integer type such as int64 or int32, not torch.float64"),
        (torch.zeros(4, 3, dtype=torch.bool), "not torch.bool"),
        (torch.full((4, 3), 64), "outside 0 ... 63: not of this model"),
        (np.full((4, 3), 2**64 - 1, np.uint64), "outside"),
        (torch.zeros(5, 3, dtype=torch.int64), r"1 to 4 codebooks, frames\], not \[1, 5, 3\]"),
        ([[1]], "not list"),
    ],
)
def test_errors_about_codes_name_the_problem(loaded: RuntimeCodec, given: Any, words: str) -> None:
    for take in (loaded.decode, StreamDecoder(loaded).push):
        with pytest.raises(CodecError, match=words):
            take(given)


@pytest.mark.parametrize("way", ["half", "bfloat16"])
def test_a_precision_without_exact_searches_is_refused(trainable: Codec, way: str) -> None:
    words = "computes in torch.float32 or torch.float64, not torch.b?float16"
    with pytest.raises(CodecError, match=words):
        getattr(Codec(trainable.config), way)()


def test_a_codec_in_training_may_be_doubled(trainable: Codec) -> None:
    assert Codec(trainable.config).double().dtype == torch.float64


@pytest.mark.parametrize("kind", ["tensor", "array", "path"])
def test_codes_at_hand_become_a_file_and_come_back(
    loaded: RuntimeCodec, audio: Tensor, tmp_path: Path, kind: str
) -> None:
    codes = loaded.encode(audio, 3)
    target: Any = tmp_path / "out.tok" if kind == "path" else io.BytesIO()
    save_codes(target, codes if kind == "tensor" else codes.numpy(), loaded, 3500)
    with TokenFile(target) as tokens:
        assert (tokens.num_samples, tokens.header.num_codebooks) == (3500, 3)
        assert tokens.header.original_sample_rate == 16000
        assert np.array_equal(tokens.read(), codes.numpy())
        assert torch.equal(loaded.decode(tokens.read(), 3500), loaded.decode(codes, 3500))
    if kind != "path":
        assert not target.closed
        target.seek(0)
    result = decode_file(target, tmp_path / "out.wav", loaded)
    assert (result.num_samples, result.truncated) == (3500, False)


def test_codes_at_hand_keep_the_rate_that_is_named(loaded: RuntimeCodec, audio: Tensor) -> None:
    stream = io.BytesIO()
    codes = loaded.encode(audio, 2)
    save_codes(stream, codes[0].int(), loaded, sample_rate=8000)
    with TokenFile(stream) as tokens:
        assert tokens.num_samples == 11 * HOP // 2
        assert np.array_equal(tokens.read(), codes.numpy())
    with pytest.raises(CodecError, match="3521 samples are 12 frames, but 11 were written"):
        save_codes(io.BytesIO(), codes, loaded, 3521)
    with pytest.raises(CodecError, match="outside their codebooks"):
        save_codes(io.BytesIO(), codes + 64, loaded)
    with pytest.raises(CodecError, match="needs its model's fingerprint"):
        save_codes(io.BytesIO(), codes, Codec(loaded.config))


def test_a_stream_holds_the_bytes_of_the_file(loaded: RuntimeCodec, tmp_path: Path) -> None:
    header = token_header(loaded, 2, 16000, 1)
    assert isinstance(header, TokenHeader)
    codes = np.random.default_rng(0).integers(0, 64, (2, 200))
    stream = io.BytesIO(b"something that was there before")
    stream.truncate(0)
    for target in (tmp_path / "a.tok", stream):
        with TokenWriter(target, header) as writer:
            writer.write(codes[:, :77])
            writer.write(torch.from_numpy(codes[None, :, 77:]))
            writer.finish(200 * HOP)
    assert stream.getvalue() == (tmp_path / "a.tok").read_bytes()
    with (tmp_path / "a.tok").open("rb") as file, TokenFile(file) as tokens:
        assert np.array_equal(tokens.read(), codes[None])
    with TokenFile(io.BytesIO(stream.getvalue()[:-30])) as tokens:
        assert tokens.truncated
    with pytest.raises(CodecError, match=r"<BytesIO>: not a \.tok file"):
        TokenFile(io.BytesIO(b"something else"))


def test_a_stream_that_cannot_seek_is_refused_with_what_takes_it() -> None:
    class Pipe(io.RawIOBase):
        def seekable(self) -> bool:
            return False

    with pytest.raises(CodecError, match="cannot seek; decode_file takes it"):
        TokenFile(Pipe())  # type: ignore[arg-type]


def test_codes_are_packed_and_unpacked_by_hand() -> None:
    codes = np.array([[[1, 3, 0], [2, 0, 1], [3, 999, 512]]])
    sizes = [4, 4, 1000]
    data = pack(codes, sizes)
    assert data == pack(torch.from_numpy(codes[0]).short(), (4, 4, 1000))
    assert len(data) == -(-3 * (2 + 2 + 10) // 8)
    assert np.array_equal(unpack(data, 3, 1, sizes), codes)
    with pytest.raises(CodecError, match="outside their codebooks"):
        pack(codes, [4, 4, 999])
    with pytest.raises(CodecError, match="3 codebooks, and 2 sizes"):
        pack(codes, [4, 4])
    with pytest.raises(CodecError, match="must be integers, not float64"):
        pack(codes * 1.0, sizes)
    with pytest.raises(CodecError, match="4 frames of 1 channels take 7 bytes, not 6"):
        unpack(data, 4, 1, sizes)


def test_public_names_are_documented() -> None:
    for name in audiocodec.__all__:
        if name != "__version__":
            assert (getattr(audiocodec, name).__doc__ or "").strip(), name
