"""Codes and audio do not depend on what the caller has set, and results are ordinary tensors."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from conftest import tensors
from torch import Tensor

from audiocodec import (
    Codec,
    CodecConfig,
    StreamDecoder,
    StreamEncoder,
    decode_file,
    encode_file,
    evaluate,
    load_audio,
    load_codec,
    save_audio,
)
from audiocodec.batch.encoder import BatchEncoder
from audiocodec.batch.plan import Job
from audiocodec.runtime import RuntimeCodec
from audiocodec.verification import verify

HOP = 320
Context = Callable[[], AbstractContextManager[object]]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


CONTEXTS: dict[str, Context] = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "default dtype bfloat16": lambda: default_dtype(torch.bfloat16),
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default device meta": lambda: torch.device("meta"),
    "no gradients": torch.no_grad,
    "gradients": torch.enable_grad,
    "inference mode": torch.inference_mode,
    "deterministic": deterministic,
}


def whole(codec: RuntimeCodec, audio: Tensor) -> list[Tensor]:
    """Codes, codes with a beam of a batch, and their audio."""
    codes = codec.encode(audio)
    batch = codec.encode(audio.expand(2, -1, -1), beam=2, lengths=[audio.shape[-1], 1000])
    return [codes, batch, codec.decode(codes), codec.decode(batch, lengths=[1000, 1000])]


def streamed(codec: RuntimeCodec, audio: Tensor) -> list[Tensor]:
    """The same of streams: codes, audio, a concealed loss, states."""
    encoder, decoder = StreamEncoder(codec), StreamDecoder(codec)
    codes = [encoder.push(piece) for piece in audio.split(1000, dim=-1)]
    audio_out = [decoder.push(piece) for piece in codes]
    audio_out.append(decoder.conceal(2))
    states = [*encoder.save_state().values(), *decoder.save_state().values()]
    codes.append(encoder.flush())
    audio_out += [decoder.push(codes[-1]), decoder.flush(), decoder.conceal(2)]
    return [*codes, *audio_out, *states]


@pytest.fixture(scope="module")
def bundled() -> RuntimeCodec:
    return load_codec("speech_16khz")


@pytest.fixture(scope="module")
def audio(speech: Tensor) -> Tensor:
    """A second of speech and half a frame."""
    return speech[..., 16000 : 32000 + HOP // 2]


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("path", [whole, streamed])
def test_codes_and_audio_are_the_same_in_any_context(
    bundled: RuntimeCodec,
    audio: Tensor,
    context: Context,
    path: Callable[[RuntimeCodec, Tensor], list[Tensor]],
) -> None:
    expected = path(bundled, audio)
    with context():
        found = path(bundled, audio)
    assert [x.dtype for x in found] == [x.dtype for x in expected]
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_codec_is_loaded_the_same_in_any_context(
    bundled: RuntimeCodec, context: Context, dtype: torch.dtype
) -> None:
    expected = bundled if dtype == torch.float32 else load_codec("speech_16khz", dtype=dtype)
    with context():
        found = load_codec("speech_16khz", dtype=dtype)
    assert found.dtype == dtype
    for (name, value), (_, other) in zip(
        [*tensors(found.engine), *tensors(found.tables)],
        [*tensors(expected.engine), *tensors(expected.tables)],
        strict=True,
    ):
        assert value.dtype == other.dtype and torch.equal(value, other), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("transform", ["full", "orthogonal"])
def test_a_fresh_codec_is_in_float32_whatever_the_default(
    trainable: Codec, dtype: torch.dtype, transform: str
) -> None:
    values = trainable.config.model_dump()
    values["quantizer"]["codebook"]["transform"] = transform
    with default_dtype(dtype):
        fresh = Codec(CodecConfig.from_mapping(values)).eval()
        codes = fresh.encode(torch.zeros(1, 1, 3 * HOP, dtype=torch.float32))
        assert fresh.decode(codes).dtype == torch.float32
    assert {tensor.dtype for tensor in fresh.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    "context", [CONTEXTS[name] for name in list(CONTEXTS)[:5]], ids=list(CONTEXTS)[:5]
)
def test_files_are_the_same_in_any_context(model: str, tmp_path: Path, context: Context) -> None:
    save_audio(tmp_path / "in.wav", 0.1 * torch.randn(2, 9000), 8000)
    scores: dict[str, float | None] = {}
    for name, manager in (("plain", nullcontext), ("inside", context)):
        with manager():
            codec = load_codec(model)
            encode_file(tmp_path / "in.wav", tmp_path / f"{name}.tok", codec)
            decode_file(tmp_path / f"{name}.tok", tmp_path / f"{name}.wav", codec)
            assert load_audio(tmp_path / f"{name}.wav")[0].dtype == torch.float32
            jobs = [Job(tmp_path / "in.wav", tmp_path / f"{name}{n}.tok") for n in range(2)]
            BatchEncoder(codec).encode(jobs, lambda seconds: None)
            checks = verify(model, [tmp_path / "in.wav"])
            assert not any(check.failure for check in checks)
            rows = evaluate(codec, tmp_path / "in.wav", [1], jobs=1).rows
            scores = {**scores, name: rows[0].payload_kbps}
    assert scores["plain"] == scores["inside"]
    for suffix in (".tok", ".wav", "0.tok", "1.tok"):
        plain, inside = (tmp_path / f"{name}{suffix}" for name in ("plain", "inside"))
        assert plain.read_bytes() == inside.read_bytes()


@pytest.mark.parametrize("path", [whole, streamed])
def test_results_are_ordinary_tensors(
    bundled: RuntimeCodec, audio: Tensor, path: Callable[[RuntimeCodec, Tensor], list[Tensor]]
) -> None:
    for result in path(bundled, audio):
        assert not result.is_inference() and not result.requires_grad
        if result.is_floating_point():
            result.mul_(0.5)
            weight = torch.ones((), requires_grad=True)
            (weight * result).sum().backward()
        elif result.dtype == torch.int64:
            embedding = torch.nn.Embedding(1024, 4)
            embedding(result % 1024).sum().backward()


def test_results_are_copies_that_leave_the_stream_alone(
    bundled: RuntimeCodec, audio: Tensor
) -> None:
    codes = bundled.encode(audio)
    decoder, other = StreamDecoder(bundled), StreamDecoder(bundled)
    first = decoder.push(codes[..., :20])
    assert torch.equal(first, other.push(codes[..., :20]))
    first.zero_()
    decoder.conceal(3).zero_()
    other.conceal(3)
    assert torch.equal(decoder.push(codes[..., 20:]), other.push(codes[..., 20:]))


def test_gradients_pass_a_trainable_codec_and_never_one_in_use(
    trainable: Codec, codec: RuntimeCodec
) -> None:
    """As for training a decoder, or a model whose output is latents, through the codec."""
    trained = copy.deepcopy(trainable).train().requires_grad_(True)
    codes = codec.encode(0.1 * torch.randn(1, 1, 3 * HOP))
    trained.decode(codes).square().mean().backward()
    assert trained.decoder.first.conv.parametrizations.weight.original1.grad is not None
    assert trained.quantizer.stages[0].codebook.transform.grad is not None
    audio = (0.1 * torch.randn(1, 1, 3 * HOP)).requires_grad_(True)
    trained(audio).audio.square().mean().backward()
    assert audio.grad is not None and audio.grad.any()
    with torch.enable_grad():
        assert not codec.decode(codes).requires_grad


@pytest.mark.parametrize("way", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_streams_in_use_can_be_copied(
    bundled: RuntimeCodec, audio: Tensor, way: Callable[[object], object]
) -> None:
    codes = bundled.encode(audio)
    decoder = StreamDecoder(bundled)
    decoder.push(codes[..., :20])
    decoder.conceal(1)
    twin = way(decoder)
    assert isinstance(twin, StreamDecoder)
    assert torch.equal(twin.push(codes[..., 20:]), decoder.push(codes[..., 20:]))


def test_loading_draws_no_random_numbers(model: str) -> None:
    before = torch.get_rng_state()
    load_codec(model)
    assert torch.equal(torch.get_rng_state(), before)
