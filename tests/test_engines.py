"""An engine is one class and one registration; all that uses a codec works with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from audiocodec import StreamDecoder, StreamEncoder, encode_file, load_codec
from audiocodec.engines import ENGINES
from audiocodec.modules.conv import StreamState
from audiocodec.runtime import Engine, RuntimeCodec, TorchEngine


class CountingEngine(TorchEngine):
    """PyTorch, and the number of samples that it has encoded."""

    samples = 0

    def encode(self, audio: Tensor, state: StreamState | None = None) -> Tensor:
        self.samples += audio.shape[-1]
        return super().encode(audio, state)


@pytest.fixture
def counting(model: str, monkeypatch: pytest.MonkeyPatch) -> RuntimeCodec:
    monkeypatch.setitem(ENGINES, "counting", CountingEngine)
    return load_codec(model, engine="counting")


def count(engine: Engine) -> int:
    assert isinstance(engine, CountingEngine)
    return engine.samples


def test_a_registered_engine_computes_codes_streams_and_files(
    counting: RuntimeCodec, model: str, clip: Path, tmp_path: Path
) -> None:
    peer = load_codec(model)
    audio = 0.1 * torch.randn(1, 1, 10 * counting.hop_length)
    codes = counting.encode(audio)
    assert torch.equal(codes, peer.encode(audio))
    assert count(counting.engine) == audio.shape[-1]
    encoder, decoder = StreamEncoder(counting), StreamDecoder(counting)
    pieces = [encoder.push(piece) for piece in audio.split(777, dim=-1)] + [encoder.flush()]
    assert torch.equal(torch.cat(pieces, dim=-1), codes)
    assert decoder.push(codes).shape[-1] > 0
    before = count(counting.engine)
    encode_file(clip, tmp_path / "a.tok", counting)
    encode_file(clip, tmp_path / "b.tok", peer)
    assert count(counting.engine) > before
    assert (tmp_path / "a.tok").read_bytes() == (tmp_path / "b.tok").read_bytes()


def test_a_class_may_be_given_instead_of_a_name(model: str) -> None:
    codec = load_codec(model, engine=CountingEngine)
    codec.encode(torch.zeros(1, 1, 640))
    assert count(codec.engine) == 640


def test_audio_enters_the_encoder_once(counting: RuntimeCodec) -> None:
    counting.encode(torch.zeros(2, 1, 3200))
    assert count(counting.engine) == 3200
