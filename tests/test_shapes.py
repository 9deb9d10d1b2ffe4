"""Networks of other shapes: unequal sides, attention, Snake. They keep every promise of a codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from audiocodec import Codec, CodecConfig, CodecError, StreamDecoder, StreamEncoder, save_codec
from audiocodec.checkpoint import fingerprint, load_codec
from audiocodec.modules import attention
from audiocodec.modules.activations import Snake
from audiocodec.modules.attention import CausalAttention
from audiocodec.modules.shape import SEANetConfig
from audiocodec.runtime import RuntimeCodec

WINDOW = 6
SHAPE: dict[str, Any] = {
    "decoder_channels": [6, 8, 12, 20],
    "decoder_residual_units": [0, 2, 1, 3],
    "snake_levels": [1, 3],
    "attention": {"encoder_blocks": 1, "decoder_blocks": 2, "window": WINDOW, "heads": 2},
}


@pytest.fixture(scope="module")
def shaped(trainable: Codec) -> Codec:
    """The small random codec with all of it, and attention that is not silent."""
    shape = trainable.config.seanet.model_dump() | SHAPE
    seanet = SEANetConfig.from_mapping(shape)
    codec = Codec(trainable.config.model_copy(update={"seanet": seanet})).requires_grad_(False)
    for layer in codec.modules():
        if isinstance(layer, CausalAttention):
            layer.output.conv.get_parameter("parametrizations.weight.original0").fill_(1.0)
        if isinstance(layer, Snake):
            layer.alpha.uniform_(0.5, 3)
    latents = codec.latents(0.1 * torch.randn(4, 1, 32_000)).transpose(1, 2).flatten(0, 1)
    codec.quantizer.initialise(latents, torch.Generator().manual_seed(0))
    return codec.eval()


@pytest.fixture(scope="module")
def folder(shaped: Codec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, saved."""
    path = tmp_path_factory.mktemp("models") / "shaped"
    save_codec(shaped, path)
    return path


@pytest.fixture(scope="module")
def exact(folder: Path) -> RuntimeCodec:
    """The same in use, in float64."""
    return load_codec(folder, dtype=torch.float64)


def noise(items: int, samples: int) -> Tensor:
    return 0.1 * torch.randn(items, 1, samples, dtype=torch.float64)


@pytest.mark.parametrize(("frames", "columns"), [(1, 256), (7, 3)])
def test_a_stream_equals_the_whole(
    exact: RuntimeCodec, frames: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than the window, whatever the pieces are and however many queries go together."""
    audio = noise(2, 20 * 320 - 5)
    codes = exact.encode(audio)
    whole = exact.decode(codes)
    monkeypatch.setattr(attention, "MAX_COLUMNS", columns)
    encoder, decoder = StreamEncoder(exact, batch_size=2), StreamDecoder(exact, batch_size=2)
    found = [encoder.push(piece) for piece in audio.split(frames * 320, dim=-1)]
    assert torch.equal(torch.cat([*found, encoder.flush()], dim=-1), codes)
    heard = [decoder.push(piece) for piece in codes.split(frames, dim=-1)]
    heard.append(decoder.flush())
    torch.testing.assert_close(torch.cat(heard, dim=-1), whole, rtol=0, atol=1e-12)


def test_a_padded_batch_has_the_codes_of_its_items(exact: RuntimeCodec) -> None:
    audio = noise(2, 4000)
    codes = exact.encode(audio, lengths=[4000, 1500])
    assert torch.equal(codes[:1], exact.encode(audio[:1]))
    assert torch.equal(codes[1:, :, :5], exact.encode(audio[1:, :, :1500]))


def test_folded_weights_compute_what_was_trained(shaped: Codec, folder: Path) -> None:
    audio = noise(1, 6400).float()
    expected = shaped.autoencode(audio)
    loaded = load_codec(folder)
    torch.testing.assert_close(
        loaded.decode_latents(loaded.latents(audio)), expected, rtol=0, atol=1e-5
    )


def test_a_saved_state_goes_on(exact: RuntimeCodec) -> None:
    audio = noise(1, 20 * 320)
    encoder, other = StreamEncoder(exact), StreamEncoder(exact)
    first = encoder.push(audio[..., :3200])
    other.load_state(encoder.save_state())
    assert torch.equal(
        torch.cat([first, other.push(audio[..., 3200:])], dim=-1), exact.encode(audio)
    )


def test_onnx_computes_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("audiocodec.onnx.engine.PIECE_FRAMES", 8)  # longer audio goes in pieces
    codec = load_codec(folder)
    other = load_codec(folder, engine="onnx")
    audio = noise(2, 20 * 320).float()
    codes = codec.encode(audio)
    assert (other.encode(audio) == codes).double().mean() > 0.99
    torch.testing.assert_close(other.decode(codes), codec.decode(codes), rtol=0, atol=1e-4)


@pytest.fixture
def block() -> CausalAttention:
    layer = CausalAttention(8, heads=2, window=WINDOW).double().requires_grad_(False)
    layer.output.conv.get_parameter("parametrizations.weight.original0").fill_(1.0)
    return layer


def test_attention_sees_the_window_and_nothing_else(block: CausalAttention) -> None:
    x = torch.randn(1, 8, 20, dtype=torch.float64)
    before = block(x)
    x[..., 10] += 1
    changed = (block(x) - before).abs().amax(dim=(0, 1)) > 1e-9
    assert changed.nonzero().flatten().tolist() == list(range(10, 10 + WINDOW))


def test_attention_is_that_of_the_paper(block: CausalAttention) -> None:
    """Softmax of rotated, normalised queries and keys, written out for one column and head."""
    x = torch.randn(1, 8, 5, dtype=torch.float64)
    queries, keys, values = (part.numpy()[0, :4] for part in block.project(x).chunk(3, dim=1))
    turns = np.exp(1j * np.arange(5) * np.array([[1.0], [1e4**-0.5]]))

    def turned(part: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        part = part / np.sqrt(np.square(part).mean(axis=0) + attention.NORM_EPSILON)
        return (part[:2] + 1j * part[2:]) * turns

    products = (turned(queries)[:, 4:].conj() * turned(keys)).real.sum(axis=0) / np.sqrt(4)
    weights = np.exp(products) / np.exp(products).sum()
    head = block._attend(
        block._normalised(torch.from_numpy(queries).repeat(2, 1)[None]),
        torch.cat(
            [
                block._normalised(torch.from_numpy(keys).repeat(2, 1)[None]),
                torch.from_numpy(values).repeat(2, 1)[None],
                torch.ones(1, 1, 5, dtype=torch.float64),
            ],
            dim=1,
        ),
    )
    np.testing.assert_allclose(head[0, :4, 4], (values * weights).sum(axis=1), rtol=1e-7)


def test_attention_does_not_depend_on_the_level_or_on_how_long_a_stream_has_run(
    block: CausalAttention,
) -> None:
    x = torch.randn(1, 8, 200, dtype=torch.float64)
    torch.testing.assert_close(block(1e4 * x), 100 * block(100 * x), rtol=1e-3, atol=1e-3)
    late = block(x)[..., 150:]
    torch.testing.assert_close(block(x[..., 150 - WINDOW :])[..., WINDOW:], late, rtol=0, atol=1e-9)


def test_fresh_attention_adds_nothing_but_learns() -> None:
    layer = CausalAttention(8, heads=2, window=WINDOW)
    x = torch.randn(1, 8, 20)
    assert torch.equal(layer(x), x)
    layer(x).square().sum().backward()
    gains = layer.output.conv.get_parameter("parametrizations.weight.original0").grad
    assert gains is not None and bool((gains != 0).all())


def test_snake_is_x_plus_a_squared_sine() -> None:
    layer = Snake(2)
    with torch.no_grad():
        layer.alpha.copy_(torch.tensor([[0.5], [3.0]]))
    x = torch.linspace(-4, 4, 400).repeat(1, 2, 1)
    expected = x + (x * layer.alpha).sin() ** 2 / layer.alpha
    torch.testing.assert_close(layer(x), expected)
    assert bool((layer(x).diff(dim=-1) >= -1e-6).all())


def test_a_fresh_codec_with_a_wider_decoder_passes_speech(speech: Tensor) -> None:
    """The MDCT initialisation does not need equal sides."""
    seanet = {
        "channels": [8, 40, 200, 320],
        "residual_units": [0, 0, 0, 0],
        "latent_dim": 320,
        "decoder_channels": [10, 44, 220, 340],
    }
    config = {"seanet": seanet, "quantizer": {"num_codebooks": 1}}
    codec = Codec(CodecConfig.from_mapping(config)).requires_grad_(False)
    audio = speech[..., :16_000]
    error = codec.autoencode(audio) - audio
    assert error[..., :-640].norm() < 0.01 * audio.norm()  # the last frames overlap with silence


def test_settings_that_are_not_used_leave_the_fingerprint(trainable: Codec, tmp_path: Path) -> None:
    seanet = trainable.config.seanet
    assert not {*SHAPE} & seanet.computation().keys()
    same = {"decoder_channels": seanet.channels, "decoder_residual_units": seanet.residual_units}
    equal = SEANetConfig.from_mapping(seanet.model_dump() | same)
    assert equal.computation() == seanet.computation()
    for key, value in SHAPE.items():
        other = SEANetConfig.from_mapping(seanet.model_dump() | {key: value})
        assert other.computation() != seanet.computation(), key
    save_codec(trainable, tmp_path / "a")
    config = trainable.config.model_copy(update={"seanet": equal})
    copy = Codec(config)
    copy.load_state_dict(trainable.state_dict())
    save_codec(copy, tmp_path / "b")
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder_channels": [4, 8]}, "`decoder_channels` needs 4 values"),
        ({"snake_levels": [4]}, "levels are 0"),
        ({"attention": {"decoder_blocks": 1, "heads": 5}}, "`attention.heads` is 5"),
        (
            {"attention": {"decoder_blocks": 1, "heads": 2}, "decoder_channels": [4, 8, 12, 18]},
            "`decoder_channels` ends with 18",
        ),
        ({"attention": {"window": 1}}, "attention.window"),
    ],
)
def test_impossible_shapes_are_refused(settings: dict[str, Any], message: str) -> None:
    shape = {"channels": [4, 8, 12, 16], "residual_units": [1, 1, 1, 1], **settings}
    with pytest.raises(CodecError, match=message):
        SEANetConfig.from_mapping(shape)
