"""Streams: any pieces give the whole, state can be kept, mistakes harm nothing, losses fade."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from audiocodec import (
    Codec,
    CodecError,
    StreamDecoder,
    StreamEncoder,
    find_audio,
    load_audio,
    load_codec,
    save_codec,
)
from audiocodec.runtime import RuntimeCodec

HOP = 320


@pytest.fixture(scope="session")
def model(trainable: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small random codec on disk, its codebooks initialised on its own latents."""
    folder = tmp_path_factory.mktemp("models") / "small"
    initialised = Codec(trainable.config)
    initialised.load_state_dict(trainable.state_dict())
    latents = initialised.latents(0.1 * torch.randn(2, 1, 200 * HOP)).detach()
    initialised.quantizer.initialise(
        latents.transpose(1, 2).flatten(0, 1), torch.Generator().manual_seed(0)
    )
    save_codec(initialised, folder)
    return folder


@pytest.fixture(scope="session")
def exact(model: Path) -> RuntimeCodec:
    return load_codec(model, dtype=torch.float64)


@pytest.fixture(scope="session")
def bundled() -> RuntimeCodec:
    return load_codec("speech_16khz")


def noise(batch: int, samples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, 1, samples, generator=generator)


def pieces(audio: Tensor, cuts: list[int]) -> list[Tensor]:
    edges = [0, *sorted(cut % (audio.shape[-1] + 1) for cut in cuts), audio.shape[-1]]
    return [audio[..., a:b] for a, b in pairwise(edges)]


def encoded(encoder: StreamEncoder, parts: list[Tensor]) -> Tensor:
    return torch.cat([*map(encoder.push, parts), encoder.flush()], dim=-1)


few = settings(max_examples=12, deadline=None, derandomize=True)
cuts = st.lists(st.integers(0, 48000), max_size=6)
lengths = st.one_of(st.integers(0, 2 * HOP), st.integers(0, 48000))


@few
@given(length=lengths, channels=st.integers(1, 3), cuts=cuts, frame_cuts=cuts)
def test_pieces_of_any_length_are_the_whole(
    exact: RuntimeCodec, length: int, channels: int, cuts: list[int], frame_cuts: list[int]
) -> None:
    audio = noise(channels, length, seed=length)
    whole = exact.encode(audio)
    codes = encoded(StreamEncoder(exact, batch_size=channels), pieces(audio, cuts))
    assert torch.equal(codes, whole)
    decoder = StreamDecoder(exact, channels)
    sound = torch.cat([*map(decoder.push, pieces(codes, frame_cuts)), decoder.flush()], dim=-1)
    assert sound.shape == (channels, 1, -(-length // HOP) * HOP)
    assert exact.decode(whole, length).shape == audio.shape
    torch.testing.assert_close(sound, exact.decode(whole), rtol=0, atol=1e-12)


@few
@given(lengths=st.lists(lengths, min_size=1, max_size=4), extra=st.integers(0, 1000))
def test_an_item_has_the_same_codes_in_any_batch(
    exact: RuntimeCodec, lengths: list[int], extra: int
) -> None:
    batch = torch.full((len(lengths), 1, max(lengths) + extra), 1e30)
    alone = [noise(1, length, seed=index) for index, length in enumerate(lengths)]
    for row, audio in zip(batch, alone, strict=True):
        row[:, : audio.shape[-1]] = audio[0]
    codes = exact.encode(batch, lengths=lengths)
    frames = -(-batch.shape[-1] // HOP)
    assert codes.shape == (len(lengths), exact.num_codebooks, frames)
    sound = exact.decode(codes, lengths=lengths)
    for index, audio in enumerate(alone):
        own = exact.encode(audio)
        assert torch.equal(codes[index : index + 1, :, : own.shape[-1]], own)
        assert not codes[index, :, own.shape[-1] :].any()
        decoded, length = sound[index : index + 1], audio.shape[-1]
        expected = exact.decode(own, length)
        torch.testing.assert_close(decoded[..., :length], expected, rtol=0, atol=1e-12)
        assert not decoded[..., length:].any()


@few
@given(order=st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=12))
def test_interleaved_streams_do_not_meet(
    exact: RuntimeCodec, order: list[tuple[bool, int]]
) -> None:
    signals = [noise(1, 20000, seed) for seed in (1, 2)]
    encoders = [StreamEncoder(exact) for _ in signals]
    at, codes = [0, 0], [[torch.zeros(1, 4, 0, dtype=torch.long)] for _ in signals]
    for second, size in order:
        part = signals[second][..., at[second] : at[second] + size]
        codes[second].append(encoders[second].push(part))
        at[second] += part.shape[-1]
    for encoder, signal, end, found in zip(encoders, signals, at, codes, strict=True):
        whole = exact.encode(signal[..., :end])
        assert torch.equal(torch.cat([*found, encoder.flush()], dim=-1), whole)


@pytest.mark.parametrize("threads", [2, 3])
def test_more_threads_give_the_same_codes(exact: RuntimeCodec, threads: int) -> None:
    audio = noise(3, 48000)
    one = exact.encode(audio)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(exact.encode(audio), one)
    finally:
        torch.set_num_threads(1)


def test_padding_may_hold_anything(exact: RuntimeCodec) -> None:
    audio = noise(2, 1000)
    audio[0, :, 500:] = torch.nan
    assert torch.equal(
        exact.encode(audio, lengths=torch.tensor([500, 1000]))[:1, :, :2],
        exact.encode(audio[:1, :, :500]),
    )


@pytest.mark.parametrize("bad", [[1], [1, 2, 3], [1, -1], [1, 1001], [0.5, 1.0]])
def test_lengths_that_do_not_fit_are_refused(exact: RuntimeCodec, bad: list[Any]) -> None:
    with pytest.raises(CodecError, match="lengths must"):
        exact.encode(noise(2, 1000), lengths=bad)


@pytest.mark.parametrize("at", [0, 100, HOP, 7777])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_state_goes_on_in_a_fresh_codec(
    exact: RuntimeCodec, model: Path, tmp_path: Path, at: int, kind: str
) -> None:
    audio = noise(2, 12000)
    encoder, decoder = StreamEncoder(exact, 3, 2), StreamDecoder(exact, 2)
    codes = [encoder.push(audio[..., :at])]
    sound = [decoder.push(codes[0])]
    file = tmp_path / "state"
    later = load_codec(model, dtype=torch.float64)
    others = StreamEncoder(later, 3, 2), StreamDecoder(later, 2)
    for stream, other in zip((encoder, decoder), others, strict=True):
        if kind == "torch":
            torch.save(stream.save_state(), file)
            other.load_state(torch.load(file, weights_only=True))
        else:
            save_file(stream.save_state(), file)
            other.load_state(load_file(file))
    for part in (audio[..., at:9000], audio[..., 9000:]):
        codes.append(others[0].push(part))
        assert torch.equal(codes[-1], encoder.push(part))
        sound.append(others[1].push(codes[-1]))
        assert torch.equal(sound[-1], decoder.push(codes[-1]))
    codes.append(others[0].flush())
    sound += [others[1].push(codes[-1]), others[1].flush()]
    assert torch.equal(torch.cat(codes, -1), exact.encode(audio, 3))
    whole = exact.decode(exact.encode(audio, 3))
    torch.testing.assert_close(torch.cat(sound, -1), whole, rtol=0, atol=1e-12)


def test_a_state_of_another_stream_is_refused(
    exact: RuntimeCodec, model: Path, bundled: RuntimeCodec
) -> None:
    audio = noise(1, 1000)
    encoder = StreamEncoder(exact)
    encoder.push(audio)
    state = encoder.save_state()
    loaded = load_codec(model)
    cut = {name: value for name, value in state.items() if not name.startswith("layer.first")}
    for stream, other, words in (
        (StreamEncoder(exact, batch_size=2), state, "batch size 1; this stream has 2"),
        (StreamEncoder(bundled), state, rf"of model {exact.fingerprint}; .* speech_16khz"),
        (StreamEncoder(loaded), state, r"in torch\.float64; this stream has torch\.float32"),
        (StreamDecoder(exact), state, "not the state of a StreamDecoder"),
        (StreamEncoder(exact), {}, "not the state of a StreamEncoder"),
        (
            StreamEncoder(exact),
            cut,
            r"another architecture: `first` is absent, expected \(1, 2, 6\)",
        ),
    ):
        before = stream.save_state()
        with pytest.raises(CodecError, match=words):
            stream.load_state(other)
        assert stream.save_state().keys() == before.keys()
    assert torch.equal(encoder.push(audio), exact.encode(torch.cat([audio, audio], -1))[..., 3:6])


def test_a_saved_state_is_a_copy(exact: RuntimeCodec) -> None:
    audio = noise(1, 4000)
    encoder = StreamEncoder(exact)
    encoder.push(audio[..., :1000])
    state = encoder.save_state()
    first = encoder.push(audio[..., 1000:])
    for _ in range(2):
        encoder.load_state(state)
        assert torch.equal(encoder.push(audio[..., 1000:]), first)


def test_a_reset_stream_starts_afresh(exact: RuntimeCodec) -> None:
    audio = noise(1, 1000)
    encoder, decoder = StreamEncoder(exact), StreamDecoder(exact)
    first = encoder.push(audio)
    decoded = decoder.push(first)
    encoder.reset()
    decoder.reset()
    assert torch.equal(encoder.push(audio), first)
    assert torch.equal(decoder.push(first), decoded)


@pytest.mark.parametrize(
    ("pushed", "words"),
    [
        (torch.zeros(1, 2, 400), r"\[batch, 1, samples\], not \[1, 2, 400\]"),
        (torch.zeros(2, 1, 400), r"\[1, 1, samples\], not \[2, 1, 400\]"),
        (torch.zeros(2, 400), "batch, 1, samples"),
        (
            torch.zeros(1, 1, 400, dtype=torch.int16),
            r"float in .* not torch.int16; .*32768",
        ),
        (torch.zeros(1, 1, 400, dtype=torch.complex64), "not torch.complex64"),
        ([0.0] * 400, r"must be a tensor .*not list"),
        (torch.full((1, 1, 400), torch.nan), "NaN or infinite"),
        (torch.full((1, 1, 400), -torch.inf), "NaN or infinite"),
        (torch.full((1, 1, 400), 1e308, dtype=torch.float64), "not all finite"),
    ],
)
def test_a_refused_push_harms_no_encoder(exact: RuntimeCodec, pushed: Any, words: str) -> None:
    audio = noise(1, 2000)
    encoder = StreamEncoder(exact)
    codes = [encoder.push(audio[..., :500])]
    with pytest.raises(CodecError, match=words):
        encoder.push(pushed)
    codes += [encoder.push(audio[..., 500:]), encoder.flush()]
    assert torch.equal(torch.cat(codes, -1), exact.encode(audio))


@pytest.mark.parametrize(
    ("pushed", "words"),
    [
        (torch.zeros(1, 5, 3, dtype=torch.long), "1 to 4 codebooks"),
        (torch.zeros(2, 4, 3, dtype=torch.long), "takes 1 channels, not 2"),
        (torch.zeros(1, 4, 3), "int64 or int32, not torch.float32"),
        ([[[1]]], "not list"),
        (torch.full((1, 4, 3), 64), "outside"),
    ],
)
def test_a_refused_push_harms_no_decoder(exact: RuntimeCodec, pushed: Any, words: str) -> None:
    codes = exact.encode(noise(1, 6400))
    decoder, other = StreamDecoder(exact), StreamDecoder(exact)
    assert torch.equal(decoder.push(codes[..., :10]), other.push(codes[..., :10]))
    with pytest.raises(CodecError, match=words):
        decoder.push(pushed)
    with pytest.raises(CodecError, match="0 or more, not -1"):
        decoder.conceal(-1)
    assert torch.equal(decoder.push(codes[..., 10:]), other.push(codes[..., 10:]))


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_the_stated_latency_is_the_measured_one(codec: RuntimeCodec, lookahead: int) -> None:
    """Samples go in one by one; the longest wait for its audio is what the streams say."""
    config = codec.config.model_copy(
        update={"seanet": codec.config.seanet.model_copy(update={"lookahead": lookahead})}
    )
    late = RuntimeCodec(Codec(config))
    encoder, decoder = StreamEncoder(late), StreamDecoder(late)
    decoded = waited = 0
    for pushed, sample in enumerate(noise(1, 5 * HOP).split(1, dim=-1), start=1):
        waited = max(waited, pushed - decoded)
        decoded += decoder.push(encoder.push(sample)).shape[-1]
    stated = encoder.latency + decoder.latency
    assert waited == round(stated * late.sample_rate) == HOP * (1 + lookahead)


@pytest.fixture(scope="session")
def spoken(bundled: RuntimeCodec) -> Tensor:
    """Codes of the bundled sentence."""
    root = Path(__file__).resolve().parents[1] / "audiocodec"
    audio, _ = load_audio(find_audio(root / "clips")[0], bundled.sample_rate)
    return bundled.encode(audio[:1, None])


@pytest.mark.parametrize("at", [40, 75, 110, 200])
def test_a_loss_does_not_click_and_fades(bundled: RuntimeCodec, spoken: Tensor, at: int) -> None:
    whole = bundled.decode(spoken)
    around = slice((at - 5) * HOP, (at + 40) * HOP)
    decoder = StreamDecoder(bundled)
    before = decoder.push(spoken[..., :at])
    gap = torch.cat([decoder.conceal(frames) for frames in (1, 4, 20)], dim=-1)
    after = [decoder.push(spoken[..., at + 25 :]), decoder.flush()]
    decoded = torch.cat([before, gap, *after], dim=-1)
    assert decoded.shape == whole.shape
    untouched = slice((at - bundled.lookahead) * HOP)
    torch.testing.assert_close(decoded[..., untouched], whole[..., untouched], rtol=0, atol=1e-5)
    # No step, at the joints or between, is larger than the largest of this very speech around it.
    assert decoded[..., around].diff().abs().max() <= 1.05 * whole[..., around].diff().abs().max()
    loudness = gap.unflatten(-1, (25, HOP)).square().mean(-1).sqrt().flatten()
    assert (loudness[1:] <= 1.1 * loudness[:-1] + 1e-4).all()
    assert loudness[-1] < 1e-4  # -80 dB
    # Half a second after the loss little is left of it, and nothing once the decoder forgets it.
    trace = (decoded - whole).abs()[..., (at + 25) * HOP :]
    assert trace[..., 25 * HOP :].max() < 0.08 * whole.abs().max()
    assert trace[..., 65 * HOP :].max() < 1e-5


def test_a_loss_in_pieces_is_the_loss_at_once(bundled: RuntimeCodec, spoken: Tensor) -> None:
    one, many = StreamDecoder(bundled), StreamDecoder(bundled)
    for decoder in (one, many):
        decoder.push(spoken[..., :40])
    pieces = torch.cat([many.conceal(1) for _ in range(6)], dim=-1)
    torch.testing.assert_close(pieces, one.conceal(6), rtol=0, atol=1e-5)
    assert one.conceal(0).shape == (1, 1, 0)


@pytest.mark.parametrize("lost", [0, 1, 7])
def test_a_loss_before_anything_was_heard_is_silence(bundled: RuntimeCodec, lost: int) -> None:
    decoder = StreamDecoder(bundled, batch_size=2)
    quiet = decoder.conceal(lost)
    assert quiet.shape == (2, 1, max(0, lost - bundled.lookahead) * HOP)
    codes = bundled.encode(noise(2, 10 * HOP))
    rest = torch.cat([decoder.push(codes), decoder.flush()], dim=-1)
    assert quiet.shape[-1] + rest.shape[-1] == (lost + 10) * HOP
    if quiet.shape[-1]:
        assert quiet.square().mean().sqrt() < 0.01


def test_a_push_that_fails_midway_changes_nothing(
    codec: RuntimeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = codec.encode(0.1 * torch.randn(1, 1, 6 * HOP))
    decoder = StreamDecoder(codec)
    decoded = [decoder.push(codes[..., :3])]
    with monkeypatch.context() as broken:
        broken.setattr(codec.engine.decoder.last, "forward", Mock(side_effect=MemoryError))
        with pytest.raises(MemoryError):
            decoder.push(codes[..., 3:])
    decoded += [decoder.push(codes[..., 3:]), decoder.flush()]
    torch.testing.assert_close(torch.cat(decoded, dim=-1), codec.decode(codes), rtol=0, atol=1e-5)


def test_numpy_counts_lost_frames_too(codec: RuntimeCodec) -> None:
    assert StreamDecoder(codec).conceal(np.int64(3)).shape == StreamDecoder(codec).conceal(3).shape
