"""The codec's promises: one path to the codes, exact lengths, pieces equal the whole."""

import pytest
import torch

from audiocodec import Codec, CodecConfig, CodecError, StreamDecoder, StreamEncoder
from audiocodec.modules.conv import has_weight_norm
from audiocodec.modules.seanet import SEANetEncoder
from audiocodec.modules.shape import SEANetConfig
from audiocodec.runtime import RuntimeCodec

SMALL = {
    "seanet": {
        "channels": [4, 6, 8, 10],
        "residual_units": [1, 1, 1, 1],
        "latent_dim": 12,
    },
    "quantizer": {"num_codebooks": 4, "codebook": {"kind": "simvq", "size": 32, "dim": 4}},
}


def make(**changes: object) -> Codec:
    codec = Codec(CodecConfig.from_mapping({**SMALL, **changes})).double().eval()
    noise = torch.randn(4, 1, 100 * codec.hop_length, dtype=torch.float64)
    latents = codec.latents(noise).detach().transpose(1, 2).reshape(-1, 12)
    codec.quantizer.initialise(latents, torch.Generator().manual_seed(0))
    return codec


@pytest.mark.parametrize("kind", ["vq", "simvq"])
@pytest.mark.parametrize("num_samples", [0, 1, 319, 320, 321, 4000])
def test_forward_is_decode_of_encode(kind: str, num_samples: int) -> None:
    codec = make(quantizer={"num_codebooks": 4, "codebook": {"kind": kind, "size": 32, "dim": 4}})
    audio = 0.1 * torch.randn(2, 1, num_samples, dtype=torch.float64)
    codes = codec.encode(audio)
    assert codes.shape == (2, 4, -(-num_samples // codec.hop_length))
    if num_samples:
        assert torch.equal(codec.decode(codes, num_samples), codec(audio).audio)
    assert codec.decode(codes, num_samples).shape == audio.shape


def test_silence_has_one_path_too() -> None:
    codec = make()
    audio = torch.zeros(1, 1, 3200, dtype=torch.float64)
    assert torch.equal(codec.decode(codec.encode(audio), 3200), codec(audio).audio)


def test_odd_strides_keep_lengths() -> None:
    seanet = {**SMALL["seanet"], "patch": 3, "strides": [3, 5, 7]}
    codec = make(seanet=seanet)
    assert codec.hop_length == 315
    for length in (1, 314, 315, 316, 1000):
        audio = torch.randn(1, 1, length, dtype=torch.float64)
        assert codec(audio).audio.shape == audio.shape


def test_fewer_codebooks_are_a_prefix() -> None:
    codec = make()
    audio = torch.randn(1, 1, 3200, dtype=torch.float64)
    every = codec.encode(audio)
    assert torch.equal(codec.encode(audio, 2), every[:, :2])
    assert torch.equal(codec.decode(every[:, :2]), codec(audio, 2).audio)


@pytest.mark.parametrize("piece", [1, 7, 320, 1000, 16000])
@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_a_stream_equals_the_whole(piece: int, lookahead: int) -> None:
    codec = RuntimeCodec(make(seanet={**SMALL["seanet"], "lookahead": lookahead}))
    length = 1601 if piece == 1 else 20011
    audio = torch.randn(2, 1, length, dtype=torch.float64)
    encoder, decoder = StreamEncoder(codec, batch_size=2), StreamDecoder(codec, batch_size=2)
    codes = [encoder.push(part) for part in audio.split(piece, dim=-1)] + [encoder.flush()]
    audio_out = [decoder.push(part) for part in codes] + [decoder.flush()]
    assert torch.equal(torch.cat(codes, dim=-1), codec.encode(audio))
    whole = codec.decode(codec.encode(audio))
    torch.testing.assert_close(torch.cat(audio_out, dim=-1), whole, rtol=0, atol=1e-12)


def test_two_interleaved_streams_do_not_meet() -> None:
    codec = RuntimeCodec(make())
    signals = [torch.randn(1, 1, 6400, dtype=torch.float64) for _ in range(2)]
    streams = [StreamEncoder(codec) for _ in signals]
    codes: list[list[torch.Tensor]] = [[], []]
    for start in range(0, 6400, 500):
        for index, (stream, signal) in enumerate(zip(streams, signals, strict=True)):
            codes[index].append(stream.push(signal[..., start : start + 500]))
    for stream, signal, pieces in zip(streams, signals, codes, strict=True):
        assert torch.equal(torch.cat([*pieces, stream.flush()], -1), codec.encode(signal))


def test_a_flushed_stream_starts_afresh() -> None:
    codec = RuntimeCodec(make())
    audio = torch.randn(1, 1, 1000, dtype=torch.float64)
    encoder = StreamEncoder(codec)
    first = torch.cat([encoder.push(audio), encoder.flush()], -1)
    assert torch.equal(first, torch.cat([encoder.push(audio), encoder.flush()], -1))


def test_a_refused_push_leaves_the_stream_as_it_was() -> None:
    codec = RuntimeCodec(make())
    audio = torch.randn(1, 1, 1000, dtype=torch.float64)
    encoder = StreamEncoder(codec)
    codes = [encoder.push(audio[..., :500])]
    with pytest.raises(CodecError, match="samples"):
        encoder.push(torch.zeros(3, 1, 10, dtype=torch.float64))
    codes += [encoder.push(audio[..., 500:]), encoder.flush()]
    assert torch.equal(torch.cat(codes, -1), codec.encode(audio))


def test_causal_up_to_the_stated_look_ahead() -> None:
    codec = make()
    audio = torch.randn(1, 1, 6400, dtype=torch.float64)
    changed = audio.clone()
    changed[..., 3200:] = torch.randn(1, 1, 3200, dtype=torch.float64)
    assert torch.equal(codec.encode(audio)[..., :10], codec.encode(changed)[..., :10])
    one, other = codec(audio).audio, codec(changed).audio
    safe = 3200 - codec.lookahead * codec.hop_length
    assert torch.equal(one[..., :safe], other[..., :safe])
    assert not torch.equal(one[..., safe:3200], other[..., safe:3200])


def test_a_codec_in_use_has_the_codes_of_the_one_it_was_made_from() -> None:
    codec = make()
    audio = torch.randn(1, 1, 8000, dtype=torch.float64)
    codes, reconstruction = codec.encode(audio), codec(audio).audio
    in_use = RuntimeCodec(codec)
    assert torch.equal(in_use.encode(audio), codes)
    torch.testing.assert_close(in_use.decode(codes, 8000), reconstruction, rtol=0, atol=1e-12)
    assert not in_use.decode(codes).requires_grad
    assert has_weight_norm(codec)  # it can be trained further, and that changes nothing in use
    with torch.no_grad():
        for value in codec.state_dict().values():
            value.zero_()
    assert torch.equal(in_use.encode(audio), codes)


def test_latents_that_grow_gain_nothing() -> None:
    """The gradient along "the same latents, larger" is zero, whatever the loss wants."""
    codec = make().train()
    audio = torch.randn(2, 1, 6400, dtype=torch.float64)
    output = codec(audio)
    (output.audio.square().mean() + output.quantized.loss).backward()
    layer = codec.encoder.last.conv
    gains = [layer.parametrizations.weight.original0, layer.bias]
    pull = sum((gain * gain.grad).sum() for gain in gains)
    size = sum((gain * gain.grad).abs().sum() for gain in gains)
    assert size > 1e-3
    assert abs(pull) < 1e-6 * size


def test_training_and_use_see_the_same_latents() -> None:
    """One running number scales them in both, so no batch shifts the level of its own audio."""
    codec = make()
    audio = torch.randn(2, 1, 6400, dtype=torch.float64)
    quiet, loud = 0.1 * audio, 10 * audio
    for level in (quiet, loud):
        in_use = codec.latents(level).detach()
        codec.train()
        before = codec.encoder.scale.rms.clone()
        in_training = codec.latents(level).detach() * codec.encoder.scale.rms / before
        codec.encoder.scale.rms.copy_(before)
        codec.eval()
        torch.testing.assert_close(in_training, in_use)


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_a_fresh_codec_lets_speech_pass(lookahead: int, speech: torch.Tensor) -> None:
    """The start is a transform and its inverse; only fresh residual units add a little noise."""
    seanet = {"channels": [32, 64, 128, 384], "latent_dim": 320, "lookahead": lookahead}
    codec = Codec(CodecConfig.from_mapping({**SMALL, "seanet": seanet})).eval()
    audio = speech[..., :32000]
    with torch.no_grad():
        noise = codec.autoencode(audio) - audio
    assert 10 * torch.log10(audio.square().sum() / noise.square().sum()) > 18


def test_rates_are_arithmetic_not_guesses() -> None:
    codec = make(quantizer={"num_codebooks": 4, "codebook": {"kind": "vq", "size": 48, "dim": 4}})
    assert codec.frame_rate == 50.0
    assert codec.bitrate(3) == 50 * 3 * 6  # 48 entries need 6 bits
    assert codec.codebooks_for_bitrate(1000) == 3
    with pytest.raises(CodecError, match="too little"):
        codec.codebooks_for_bitrate(100)


@pytest.mark.parametrize("number", [0, 5, -1])
def test_codebooks_out_of_range_are_refused(number: int) -> None:
    codec = RuntimeCodec(make())
    with pytest.raises(CodecError, match="1 to 4"):
        codec.encode(torch.zeros(1, 1, 320, dtype=torch.float64), number)


def test_foreign_codes_are_refused() -> None:
    codec = RuntimeCodec(make())
    with pytest.raises(CodecError, match="outside"):
        codec.decode(torch.full((1, 4, 3), 32))
    with pytest.raises(CodecError, match="batch, 1, samples"):
        codec.encode(torch.zeros(2, 320))


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(1, 1, 1), (3, 1, 9), (8, 4, 1)])
def test_few_columns_are_a_matrix_product_and_the_same(
    kernel: int, stride: int, dilation: int
) -> None:
    from audiocodec.modules.conv import convolve

    conv = torch.nn.Conv1d(6, 5, kernel, stride=stride, dilation=dilation).double()
    for columns in (1, 2, 40, 300):
        length = (columns - 1) * stride + dilation * (kernel - 1) + 1
        x = torch.randn(2, 6, length, dtype=torch.float64)
        with torch.no_grad():
            assert torch.allclose(convolve(conv, x), conv(x), atol=1e-13)
            # As streams hand it over: a view whose columns do not lie side by side.
            turned = x.transpose(1, 2).contiguous().transpose(1, 2)
            assert torch.allclose(convolve(conv, turned), conv(x), atol=1e-13)


@pytest.mark.parametrize("num_samples", [-1, 3 * 320 + 1])
def test_a_length_that_the_codes_cannot_have_is_refused(num_samples: int) -> None:
    codec = RuntimeCodec(make())
    codes = torch.zeros(1, 4, 3, dtype=torch.long)
    most = 3 * codec.hop_length
    with pytest.raises(CodecError, match=f"num_samples must lie in 0 ... {most}"):
        codec.decode(codes, num_samples if num_samples < 0 else most + 1)
    assert codec.decode(codes, most).shape[-1] == most
    assert codec.decode(codes, 0).shape[-1] == 0


def test_dilations_begin_anew_after_three_units() -> None:
    config = SEANetConfig(residual_units=(0, 0, 0, 5))
    units = SEANetEncoder(config).levels[-1]
    assert [unit.dilated.conv.dilation[0] for unit in units] == [1, 3, 9, 1, 3]
