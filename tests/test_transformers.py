"""The codec as a model of Transformers, beside EnCodec, DAC and Mimi with random weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from audiocodec import CodecError, load_codec, save_codec
from audiocodec.bundled import CLIPS, MODELS
from audiocodec.checkpoint import load_trainable

pytest.importorskip("transformers")

import audiocodec.transformers_adapter as adapter
from audiocodec.transformers_adapter import AudioCodecConfig, AudioCodecModel

transformers: Any = adapter.transformers


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def ours() -> Any:
    return AudioCodecModel.from_pretrained("speech_16khz")


@pytest.fixture(scope="module")
def encodec() -> Any:
    config = transformers.EncodecConfig(
        sampling_rate=16_000,
        num_filters=4,
        hidden_size=16,
        num_lstm_layers=1,
        codebook_size=64,
        target_bandwidths=[0.3, 0.6, 1.2],
    )
    return transformers.EncodecModel(config).eval()


@pytest.fixture(scope="module")
def dac() -> Any:
    config = transformers.DacConfig(
        encoder_hidden_size=4,
        decoder_hidden_size=32,
        n_codebooks=4,
        codebook_size=64,
        downsampling_ratios=[2, 4, 5, 8],
    )
    return transformers.DacModel(config).eval()


@pytest.fixture(scope="module")
def mimi() -> Any:
    config = transformers.MimiConfig(
        sampling_rate=16_000,
        num_filters=4,
        hidden_size=16,
        upsample_groups=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=16,
        codebook_size=64,
        codebook_dim=8,
        vector_quantization_hidden_dimension=8,
        num_quantizers=4,
    )
    return transformers.MimiModel(config).eval()


@pytest.fixture
def audio() -> Tensor:
    return torch.randn(2, 1, 5000) / 10


@pytest.fixture
def mask() -> Tensor:
    mask = torch.ones(2, 5000, dtype=torch.long)
    mask[1, 3000:] = 0
    return mask


def alike(ours: Any, theirs: Any) -> None:
    """Equal types and numbers of dimensions; sizes of what is not frames or codebooks."""
    if isinstance(theirs, Tensor):
        assert isinstance(ours, Tensor)
        assert (ours.dtype, ours.ndim, ours.shape[0]) == (
            theirs.dtype,
            theirs.ndim,
            theirs.shape[0],
        )
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            alike(mine, other)
    else:
        assert type(ours) is type(theirs) and ours == theirs


def test_it_is_an_audio_tokenizer(ours: Any) -> None:
    base = transformers.modeling_utils
    if hasattr(base, "PreTrainedAudioTokenizerBase"):
        assert isinstance(ours, base.PreTrainedAudioTokenizerBase)
    assert ours.main_input_name == "input_values" and not ours.training
    assert ours.num_parameters() == sum(p.numel() for p in ours.codec.parameters())


@pytest.mark.parametrize("peer", ["encodec", "dac", "mimi"])
def test_the_configuration_has_the_attributes_of_its_peers(
    peer: str, ours: Any, request: pytest.FixtureRequest
) -> None:
    names = {
        "encodec": "sampling_rate audio_channels normalize chunk_length_s overlap chunk_length "
        "chunk_stride hidden_size upsampling_ratios codebook_size codebook_dim hop_length "
        "codebook_nbits frame_rate num_quantizers target_bandwidths",
        "dac": "sampling_rate downsampling_ratios upsampling_ratios hidden_size n_codebooks "
        "codebook_size codebook_dim hop_length frame_rate",
        "mimi": "sampling_rate audio_channels hidden_size upsampling_ratios codebook_size "
        "codebook_dim num_quantizers frame_rate frame_size",
    }
    theirs = request.getfixturevalue(peer).config
    for name in names[peer].split():
        mine, other = getattr(ours.config, name), getattr(theirs, name)
        if isinstance(other, list | tuple):
            assert isinstance(mine, list) and type(mine[0]) is type(other[0]), name
        elif name == "frame_rate":  # a float in Mimi, rounded in the others
            assert mine == 50.0
        else:
            assert type(mine) is type(other), name
    assert ours.config.hop_length == np.prod(ours.config.upsampling_ratios) == 320
    assert ours.config.target_bandwidths[:3] == [0.5, 1.0, 1.5]


def test_encodecs_calls(encodec: Any, ours: Any, audio: Tensor, mask: Tensor) -> None:
    """As in its documentation. Its codes have one dimension more, of chunks."""
    for model in (encodec, ours):
        bandwidth = model.config.target_bandwidths[1]
        out = model.encode(audio, mask, bandwidth)
        assert out.audio_codes.shape[-2:] == (2, 16)
        values = model.decode(out.audio_codes, out.audio_scales, mask)[0]
        assert values.shape == (2, 1, 5000)
        values = model.decode(
            audio_codes=out.audio_codes,
            audio_scales=out.audio_scales,
            padding_mask=mask.unsqueeze(1),
            last_frame_pad_length=out.last_frame_pad_length,
        ).audio_values
        assert values.shape == (2, 1, 5000) and values.dtype == torch.float32
        whole = model(audio, mask, bandwidth)
        assert whole.audio_values.shape == (2, 1, 5000)
        codes, scales, pad = model.encode(audio, mask, bandwidth, False)
        assert (torch.equal(codes, out.audio_codes), scales, pad) == (True, [None], 0)
        codes, values = model(audio, mask, bandwidth, return_dict=False)
        assert torch.equal(codes, whole.audio_codes)
        assert torch.equal(values, whole.audio_values)
        with pytest.raises((ValueError, CodecError), match="bandwidth"):
            model.encode(audio, bandwidth=99.0)
    out = ours.encode(audio)
    chunked = ours.decode(out.audio_codes.unsqueeze(0), [None]).audio_values
    assert torch.equal(chunked, ours.decode(out.audio_codes).audio_values)


def test_dacs_calls(dac: Any, ours: Any, audio: Tensor) -> None:
    """As in its documentation. Its audio has no dimension of channels."""
    for model in (dac, ours):
        for arguments in ({"n_quantizers": 3}, {"return_dict": True}):
            out = model.encode(audio, **arguments)
            assert out.audio_codes.dtype == torch.int64
        out = model.encode(audio, 3)
        assert out.audio_codes.shape[:2] == (2, 3)
        assert out.quantized_representation.shape[1] == model.config.hidden_size
        from_codes = model.decode(audio_codes=out.audio_codes).audio_values
        from_latents = model.decode(out.quantized_representation).audio_values
        torch.testing.assert_close(from_codes, from_latents)
        assert model(audio).audio_values.shape[-1] <= 5000
        assert model(audio, 3).audio_codes.shape[1] == 3
        with pytest.raises((ValueError, CodecError), match="audio_codes"):
            model.decode()


def test_mimis_calls(mimi: Any, ours: Any, audio: Tensor, mask: Tensor) -> None:
    """As in its documentation: codes, audio and masks have its shapes and types."""
    results = []
    for model in (mimi, ours):
        out = model.encode(audio, mask, num_quantizers=2)
        assert out.audio_codes.shape[:2] == (2, 2)
        values = model.decode(out.audio_codes, mask).audio_values
        assert values.shape == (2, 1, 5000)
        whole = model(audio, padding_mask=mask, num_quantizers=3)
        again = model(audio, padding_mask=mask, audio_codes=whole.audio_codes)
        assert torch.equal(again.audio_values, whole.audio_values)
        lengths = model.get_encoded_length(torch.tensor([5000, 3000]))
        frames = model.get_audio_codes_mask(mask)
        assert frames.sum(dim=-1).tolist() == lengths.tolist()
        assert frames.shape == (2, whole.audio_codes.shape[-1])
        results.append(
            [out.audio_codes, out[0], values, whole[0], whole[1], again[1], lengths, frames]
        )
    alike(results[1], results[0])


@pytest.mark.parametrize("spelling", [lambda m: m, lambda m: m.unsqueeze(1), lambda m: m.bool()])
def test_a_padded_item_has_the_codes_it_has_alone(
    spelling: Callable[[Tensor], Tensor], mask: Tensor
) -> None:
    model = AudioCodecModel.from_pretrained("speech_16khz", dtype=torch.float64)
    audio = torch.randn(2, 1, 5000) / 10  # what is masked holds anything
    out = model.encode(audio, spelling(mask))
    alone = model.encode(audio[1:, :, :3000]).audio_codes
    assert torch.equal(out.audio_codes[1, :, :10], alone[0])
    assert not out.audio_codes[1, :, 10:].any()
    values = model.decode(out.audio_codes, padding_mask=mask).audio_values
    torch.testing.assert_close(
        values[1:, :, :3000], model.decode(alone).audio_values[..., :3000], rtol=0, atol=1e-9
    )
    assert not values[1, :, 3000:].any()


def test_a_wrong_call_is_one_line(ours: Any, audio: Tensor, mask: Tensor) -> None:
    for call, match in (
        (lambda: ours.encode(audio, mask.flip(-1)), "padded on the right"),
        (lambda: ours.encode(audio, mask[:, :99]), r"\[B, 5000\]"),
        (lambda: ours.encode(audio[0]), r"\[B, 1, T\]"),
        (lambda: ours.encode(audio.expand(2, 2, 5000)), r"\[batch, 1, samples\]"),
        (lambda: ours.encode(audio, num_quantizers=17), "17 codebooks"),
        (lambda: ours.get_audio_codes_mask(mask, padding_side="left"), "padding_side"),
        (lambda: ours.half(), "float32 or torch.float64"),
        (lambda: AudioCodecConfig(seanet={"stirdes": [2]}), "stirdes"),
    ):
        with pytest.raises(CodecError, match=match) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_model_folder_opens_with_the_auto_classes(
    ours: Any, tmp_path: Path, audio: Tensor
) -> None:
    """The codes are those of load_codec; both libraries read what the other wrote."""
    ours.save_pretrained(tmp_path)
    codec = load_codec(tmp_path)
    bundled = load_codec("speech_16khz")
    assert (codec.name, codec.fingerprint) == (bundled.name, bundled.fingerprint)
    ours.config.save_pretrained(tmp_path)  # Transformers' own way to write config.json
    assert load_codec(tmp_path).fingerprint == bundled.fingerprint
    for folder in (tmp_path, MODELS / "speech_16khz"):
        model = transformers.AutoModel.from_pretrained(folder)
        assert type(model) is AudioCodecModel and model.dtype == torch.float32
        assert torch.equal(model.encode(audio).audio_codes, bundled.encode(audio))
        config = transformers.AutoConfig.from_pretrained(folder)
        assert config.codec_config() == bundled.config
        exact = transformers.AutoModel.from_pretrained(folder, dtype=torch.float64)
        expected = load_codec(folder, dtype=torch.float64).encode(audio)
        assert torch.equal(exact.encode(audio).audio_codes, expected)
        assert torch.equal(model.double().encode(audio).audio_codes, expected)
    fresh = transformers.AutoModel.from_config(config)
    assert fresh.encode(audio).audio_codes.shape == (2, 16, 16)


def test_the_feature_extractor_pads_a_batch(ours: Any, tmp_path: Path) -> None:
    from audiocodec import load_audio

    clips = [load_audio(path, 16_000)[0][0].numpy() for path in sorted(CLIPS.glob("*.flac"))]
    ours.save_pretrained(tmp_path)
    for auto in (transformers.AutoFeatureExtractor, transformers.AutoProcessor):
        extractor = auto.from_pretrained(tmp_path)
        inputs = extractor(clips, sampling_rate=16_000, return_tensors="pt")
        assert inputs["input_values"].shape == (2, 1, max(map(len, clips)))
    model = ours.double()
    codes = model.encode(**inputs).audio_codes
    exact = load_codec("speech_16khz", dtype=torch.float64)
    for clip, own in zip(clips, codes, strict=True):
        alone = exact.encode(torch.from_numpy(clip))[0]
        assert torch.equal(own[:, : alone.shape[-1]], alone)
    ours.float()


def test_the_codes_are_those_of_the_command(ours: Any, clip: Path, tmp_path: Path) -> None:
    from audiocodec import TokenFile, load_audio
    from audiocodec_cli.main import run

    assert run(["encode", str(clip), str(tmp_path / "a.tok"), "--exact", "-n", "6"]) == 0
    with TokenFile(tmp_path / "a.tok") as tokens:
        expected = torch.from_numpy(tokens.read())
    audio = load_audio(clip, 16_000)[0]
    codes = ours.double().encode(audio.unsqueeze(1), num_quantizers=6).audio_codes
    ours.float()
    assert torch.equal(codes, expected)


def test_it_uses_the_weights_as_they_are_now(audio: Tensor) -> None:
    model, audio = AudioCodecModel.from_pretrained("speech_16khz"), audio[..., :8000]
    before = model.encode(audio).audio_codes
    optimizer = torch.optim.SGD(model.codec.parameters(), 1.0)
    model.codec(audio).audio.square().sum().backward()
    optimizer.step()
    after = model.encode(audio).audio_codes
    assert not torch.equal(after, before)
    model.codec.load_state_dict(load_trainable("speech_16khz").state_dict())
    assert torch.equal(model.encode(audio).audio_codes, before)


def test_a_trained_model_is_saved_without_what_belongs_to_the_old_one(
    tmp_path: Path, trainable: Any
) -> None:
    save_codec(trainable, tmp_path / "tiny")
    (tmp_path / "tiny" / "golden.tok").write_bytes(b"")
    model = AudioCodecModel.from_pretrained(tmp_path / "tiny")
    model.save_pretrained(tmp_path / "same")
    with torch.no_grad():
        next(model.codec.decoder.parameters()).add_(1)
    model.save_pretrained(tmp_path / "other")
    assert (tmp_path / "same" / "golden.tok").exists()
    assert not (tmp_path / "other" / "golden.tok").exists()
    assert load_codec(tmp_path / "other").name == "tiny"


def test_import_audiocodec_does_not_import_transformers() -> None:
    program = """
import sys, audiocodec, audiocodec.hub
assert not {"transformers", "huggingface_hub"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
