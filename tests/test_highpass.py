"""The high-pass in front of the encoder: offsets and rumble vanish, speech passes, pieces join."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import Codec, CodecConfig, StreamEncoder, load_codec, save_codec
from audiocodec.checkpoint import fingerprint
from audiocodec.modules.conv import StreamState, name_layers
from audiocodec.modules.highpass import HighPass, highpass_taps
from audiocodec.runtime import RuntimeCodec

RATE, HOP = 16_000, 320


def response(filtered: HighPass, hertz: float) -> float:
    """Gain in dB for a tone of that frequency, after the filter has settled."""
    tone = torch.sin(2 * torch.pi * hertz / RATE * torch.arange(RATE, dtype=torch.float64))
    output = filtered.double()(tone[None, None])[0, 0]
    settled = slice(RATE // 2, None)
    return float(10 * torch.log10(output[settled].square().mean() / tone[settled].square().mean()))


def test_it_is_a_butterworth_filter_of_second_order() -> None:
    filtered = HighPass(50.0, RATE, HOP)
    assert response(filtered, 50) == pytest.approx(-3.01, abs=0.05)
    assert response(filtered, 25) == pytest.approx(-12.3, abs=0.3)
    assert response(filtered, 12.5) == pytest.approx(-24.1, abs=1)
    assert response(filtered, 200) == pytest.approx(0, abs=0.02)
    assert response(filtered, 4000) == pytest.approx(0, abs=0.01)


def test_its_taps_are_those_of_scipy() -> None:
    signal = pytest.importorskip("scipy.signal")
    impulse = np.zeros(640)
    impulse[0] = 1
    expected = signal.lfilter(*signal.butter(2, 50 / (RATE / 2), "high"), impulse)
    np.testing.assert_allclose(highpass_taps(50.0, RATE, 640), expected, atol=1e-6)


@pytest.mark.parametrize("hop_length", [320, 315, 7, 2])
@pytest.mark.parametrize("corner", [50.0, 500.0])
def test_a_stream_in_frames_equals_the_whole(hop_length: int, corner: float) -> None:
    filtered = HighPass(corner, RATE, hop_length).double()
    name_layers(filtered)
    audio = torch.randn(2, 1, 60 * hop_length, dtype=torch.float64)
    whole = filtered(audio)
    taps = highpass_taps(corner, RATE, (filtered.context - 2) * filtered.block).double()
    plain = torch.nn.functional.conv1d(
        torch.nn.functional.pad(audio, (len(taps) - 1, 0), "replicate"), taps.flip(0)[None, None]
    )
    torch.testing.assert_close(whole, plain, rtol=0, atol=1e-6)  # the taps' sum is 0 in float32
    state = StreamState()
    pieces = [filtered(piece, state) for piece in audio.split(3 * hop_length, dim=-1)]
    torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, rtol=0, atol=1e-12)


def test_an_offset_is_no_step_at_the_start() -> None:
    """Nothing of it comes out, in the whole and in a stream whose state starts as zeros."""
    filtered = HighPass(50.0, RATE, HOP)
    name_layers(filtered)
    audio = 0.2 * torch.sin(torch.arange(4 * HOP) / 9)[None, None]
    zeros = StreamState({filtered.name: torch.zeros(1, filtered.in_channels, filtered.context)})
    shifted = torch.cat([filtered(x, zeros) for x in (audio + 0.3).split(HOP, dim=-1)], dim=-1)
    torch.testing.assert_close(shifted, filtered(audio), rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def filtered(trainable: Codec) -> Codec:
    """The small random codec with a high-pass."""
    codec = Codec(trainable.config.model_copy(update={"highpass_hz": 50.0}))
    codec.load_state_dict(trainable.state_dict(), strict=False)
    return codec.eval().requires_grad_(False)


def test_an_offset_costs_nothing_and_changes_no_code(filtered: Codec, speech: torch.Tensor) -> None:
    codec = RuntimeCodec(filtered)
    audio = 0.5 * speech[..., : 2 * RATE]
    codes, shifted = (codec.encode(x) for x in (audio, audio + 0.1))
    assert (codes == shifted).double().mean() > 0.98
    plain = codec.config.model_copy(update={"highpass_hz": 0.0})
    peer = Codec(plain)
    peer.load_state_dict(filtered.state_dict(), strict=False)
    without = RuntimeCodec(peer.eval())
    codes, shifted = (without.encode(x) for x in (audio, audio + 0.1))
    assert (codes == shifted).double().mean() < 0.8


def test_pieces_batches_and_the_file_keep_the_codes(filtered: Codec, tmp_path: Path) -> None:
    save_codec(filtered, tmp_path, dtype=torch.float16)
    codec = load_codec(tmp_path, dtype=torch.float64)
    kernel = filtered.encoder.highpass
    assert kernel is not None
    stored = load_codec(tmp_path).engine.encoder.highpass.kernel  # type: ignore[attr-defined]
    assert torch.equal(stored, kernel.kernel)  # never in half precision
    audio = 0.1 * torch.randn(2, 1, 9_999, dtype=torch.float64) + 0.02
    codes = codec.encode(audio)
    encoder = StreamEncoder(codec, batch_size=2)
    pieces = [encoder.push(piece) for piece in audio.split(777, dim=-1)] + [encoder.flush()]
    assert torch.equal(torch.cat(pieces, dim=-1), codes)
    longer = torch.nn.functional.pad(audio, (0, 5_000), value=0.3)
    assert torch.equal(codec.encode(longer, lengths=[9_999, 9_999])[..., : codes.shape[-1]], codes)


def test_without_it_nothing_changes(trainable: Codec, filtered: Codec, tmp_path: Path) -> None:
    """Models from before it keep their weights, codes and fingerprint."""
    assert "highpass_hz" not in CodecConfig().computation()
    assert not any("highpass" in name for name in trainable.state_dict())
    for name, codec in (("plain", trainable), ("filtered", filtered)):
        save_codec(codec, tmp_path / name)
    assert fingerprint(tmp_path / "plain") != fingerprint(tmp_path / "filtered")
