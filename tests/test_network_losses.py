"""Losses on features of frozen networks: Whisper's encoder and a speaker encoder."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec import CodecError
from audiocodec.training import Recipe
from audiocodec.training.losses.recogniser import load_recogniser, recogniser_loss
from audiocodec.training.losses.speaker import (
    SpeakerEncoder,
    load_speaker_encoder,
    speaker_loss,
)
from audiocodec.training.losses.whisper import load_whisper_encoder
from audiocodec.training.step import TrainingStep

TINY = Path(__file__).resolve().parents[1] / "recipes" / "tiny.yaml"
DIM, HEADS, BLOCKS, BANDS, POSITIONS = 8, 2, 2, 20, 100


def weights() -> dict[str, Tensor]:
    """Random weights of a tiny Whisper encoder, by CTranslate2's names."""
    shapes: dict[str, tuple[int, ...]] = {
        "conv1/bias": (DIM,),
        "conv1/weight": (DIM, BANDS, 3),
        "conv2/bias": (DIM,),
        "conv2/weight": (DIM, DIM, 3),
        "layer_norm/gamma": (DIM,),
        "position_encodings/encodings": (POSITIONS, DIM),
    }
    for index in range(BLOCKS):
        for part, sizes in (("self_attention", (3 * DIM, DIM)), ("ffn", (4 * DIM, DIM))):
            layer = f"layer_{index}/{part}"
            shapes[f"{layer}/layer_norm/gamma"] = shapes[f"{layer}/layer_norm/beta"] = (DIM,)
            shapes[f"{layer}/linear_0/weight"] = (sizes[0], DIM)
            shapes[f"{layer}/linear_0/bias"] = (sizes[0],)
            shapes[f"{layer}/linear_1/weight"] = (DIM, sizes[0] if part == "ffn" else DIM)
            shapes[f"{layer}/linear_1/bias"] = (DIM,)
    named = {f"encoder/{name}": 0.5 * torch.randn(shape) for name, shape in shapes.items()}
    return named | {"encoder/num_heads": torch.tensor(HEADS)}


def model_bin(
    named: dict[str, Tensor], architecture: str = "WhisperSpec", version: int = 6
) -> bytes:
    """``model.bin`` as CTranslate2 writes it, in float16."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", version), text(architecture), struct.pack("<II", 3, len(named))]
    for name, value in named.items():
        number, kind = (4, "<f2") if value.is_floating_point() else (2, "<i2")
        values = value.numpy().astype(kind).tobytes()
        shape = struct.pack(f"<B{value.dim()}I", value.dim(), *value.shape)
        parts += [text(name), shape, struct.pack("<BI", number, len(values)), values]
    parts += [struct.pack("<I", 1), text("decoder/alias"), text("encoder/conv1/bias")]
    return b"".join(parts)


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    """The folder of a tiny Whisper model with random weights."""
    (tmp_path / "model.bin").write_bytes(model_bin(weights()))
    return tmp_path


def attention(x: Tensor, w: dict[str, Tensor], part: str) -> Tensor:
    """Multi-head attention in plain sums: queries, keys and values are rows of one matrix."""
    q, k, v = (x @ w[f"{part}/linear_0/weight"].T + w[f"{part}/linear_0/bias"]).chunk(3, dim=-1)
    heads = []
    for head in range(HEADS):
        mine = slice(head * DIM // HEADS, (head + 1) * DIM // HEADS)
        scores = q[..., mine] @ k[..., mine].transpose(1, 2) / (DIM // HEADS) ** 0.5
        heads.append(scores.softmax(dim=-1) @ v[..., mine])
    return torch.cat(heads, dim=-1) @ w[f"{part}/linear_1/weight"].T + w[f"{part}/linear_1/bias"]


def test_the_encoder_is_that_of_the_paper_with_the_weights_of_the_file(tmp_path: Path) -> None:
    named = weights()
    (tmp_path / "model.bin").write_bytes(model_bin(named))
    encoder = load_whisper_encoder(tmp_path)
    w = {name.removeprefix("encoder/"): x.half().float() for name, x in named.items()}
    audio = 0.1 * torch.randn(2, 1, 3200)
    x = F.gelu(F.conv1d(encoder.log_mel(audio), w["conv1/weight"], w["conv1/bias"], padding=1))
    x = F.gelu(F.conv1d(x, w["conv2/weight"], w["conv2/bias"], stride=2, padding=1)).mT
    x = x + w["position_encodings/encodings"][:10]
    for index, features in enumerate(encoder(audio)):
        for part in (f"layer_{index}/self_attention", f"layer_{index}/ffn"):
            norm = w[f"{part}/layer_norm/gamma"], w[f"{part}/layer_norm/beta"]
            y = F.layer_norm(x, (DIM,), *norm)
            if part.endswith("ffn"):
                y = F.gelu(y @ w[f"{part}/linear_0/weight"].T + w[f"{part}/linear_0/bias"])
                x = x + y @ w[f"{part}/linear_1/weight"].T + w[f"{part}/linear_1/bias"]
            else:
                x = x + attention(y, w, part)
        torch.testing.assert_close(features, x, rtol=1e-4, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    with pytest.raises(CodecError, match=r"Whisper takes 2 s at most; lower data.segment_seconds"):
        encoder(torch.zeros(1, 1, 2 * 16000 + 320))


def test_the_features_are_those_of_faster_whisper(speech: Tensor) -> None:
    package = pytest.importorskip("faster_whisper", reason="the extra `asr` is not installed")
    folder = os.environ.get("AUDIOCODEC_WHISPER")
    if not folder:
        pytest.skip("AUDIOCODEC_WHISPER names no Whisper model")
    import ctranslate2

    from audiocodec.training.losses.ct2weights import read_ct2_weights

    model = package.WhisperModel(folder, "cpu", compute_type="float32", cpu_threads=1)
    encoder = load_whisper_encoder(Path(folder))
    audio = speech[..., 8000:40000]
    mel = model.feature_extractor(audio[0, 0].numpy(), padding=0)
    np.testing.assert_allclose(encoder.log_mel(audio)[0].numpy(), mel, atol=1e-3)
    view = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None], np.float32))
    theirs = np.array(model.model.encode(view, to_cpu=True))
    w = read_ct2_weights(Path(folder) / "model.bin")[1]
    norm = w["encoder/layer_norm/gamma"], w["encoder/layer_norm/beta"]
    with torch.no_grad():
        ours = F.layer_norm(encoder(audio)[-1], (theirs.shape[-1],), *norm)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-3)


def speaker_encoder() -> SpeakerEncoder:
    """Of the shape of Resemblyzer's, small and random."""
    stand_in = nn.Module()
    stand_in.lstm, stand_in.linear = nn.LSTM(40, 8, 2, batch_first=True), nn.Linear(8, 32)
    network = SpeakerEncoder(stand_in).requires_grad_(False)
    network.lstm.weight_ih_l0.mul_(30)  # so that the embedding depends on what it hears
    return network


def test_both_losses_are_zero_for_equal_audio_and_grow_with_distance(whisper: Path) -> None:
    audio, noise = 0.05 * torch.randn(2, 2, 1, 8000)
    cases = (
        (recogniser_loss, load_recogniser(str(whisper), 16000)),
        (speaker_loss, speaker_encoder()),
    )
    for function, network in cases:
        same, near, far = (
            float(function(audio + share * noise, audio, network)) for share in (0, 0.3, 3)
        )
        assert abs(same) < 1e-6 < near < far
        silence = torch.zeros(1, 1, 4096, requires_grad=True)
        function(silence, torch.zeros(1, 1, 4096), network).backward()
        assert silence.grad is not None and silence.grad.isfinite().all()


def test_the_speaker_loss_does_not_hear_how_quiet_a_clip_is() -> None:
    network, audio = speaker_encoder(), 0.01 * torch.randn(2, 1, 16000)
    other = audio + 0.005 * torch.randn_like(audio)
    quiet = speaker_loss(0.3 * other, 0.3 * audio, network)
    torch.testing.assert_close(speaker_loss(other, audio, network), quiet)


def test_the_embeddings_are_those_of_resemblyzer(speech: Tensor) -> None:
    pytest.importorskip("_webrtcvad", reason="the extra `speaker` is not installed")
    from audiocodec.evaluation.metrics.speaker import load_encoder

    audio = speech[..., : 4 * 16000]
    network = load_speaker_encoder(None, 16000)
    embeddings = network(audio, torch.ones(1, 1, 1))[0]
    _, theirs, _ = load_encoder()[1].embed_utterance(audio[0, 0].numpy(), return_partials=True)
    count = min(len(embeddings), len(theirs))
    assert count >= 3
    np.testing.assert_allclose(embeddings[:count].numpy(), theirs[:count], rtol=1e-3, atol=1e-3)


def test_a_step_with_the_loss_trains_the_codec_and_not_the_network(whisper: Path) -> None:
    overrides = ["losses.recogniser=0.5", f"losses.models.recogniser={whisper}"]
    recipe = Recipe.from_yaml(TINY, overrides)
    step = TrainingStep(recipe)
    before = {
        name: x.clone()
        for name, x in step.networks.loss_networks["recogniser"].state_dict().items()
    }
    numbers = step(0.1 * torch.randn(2, 1, 5120), 0)
    assert float(numbers["loss/recogniser"]) > 0
    for name, value in step.networks.loss_networks["recogniser"].state_dict().items():
        assert torch.equal(value, before[name])
    assert not any("network" in key for key in step.state_dict())
    # Its weights are those of a run without it: loading draws no random numbers before.
    plain = TrainingStep(Recipe.from_yaml(TINY))
    assert plain.networks.loss_networks == {}
    for ours, theirs in zip(
        plain.codec.encoder.parameters(),
        TrainingStep(recipe).codec.encoder.parameters(),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["losses.recogniser=1"], "name its folder with --set losses.models.recogniser=FOLDER"),
        (
            ["losses.recogniser=1", "losses.models.recogniser=/nowhere"],
            r"/nowhere/model.bin: cannot be read \(No such file",
        ),
        (["losses.recogniser=1", "codec.sample_rate=8000"], "needs codec.sample_rate 16000"),
        (["losses.speaker=1", "losses.models.speaker=x"], "part of Resemblyzer; leave this out"),
        (["losses.models.mel=x"], "there is no such loss, or it needs no model"),
    ],
)
def test_a_missing_network_is_one_line_with_the_remedy(overrides: list[str], message: str) -> None:
    with pytest.raises(CodecError, match=message) as caught:
        TrainingStep(Recipe.from_yaml(TINY, overrides))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_whisper_model_is_one_line(tmp_path: Path) -> None:
    named = weights()
    whole = model_bin(named)
    del named["encoder/layer_1/ffn/linear_1/weight"]
    for content, message in (
        (whole[:500], "damaged, or not a model of CTranslate2"),
        (b"not a model at all, but long enough", "damaged, or not a model"),
        (model_bin(named, version=7), "version 7 instead of 6"),
        (model_bin(named, architecture="TransformerSpec"), "a model of TransformerSpec"),
        (model_bin(named), "not a Whisper model in float16 or float32"),
    ):
        (tmp_path / "model.bin").write_bytes(content)
        with pytest.raises(CodecError, match=message) as caught:
            load_whisper_encoder(tmp_path)
        assert "\n" not in str(caught.value)
