"""What the bundled model promises, on real speech."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from audiocodec import StreamEncoder, find_audio, load_audio, load_codec
from audiocodec.bundled import bundled_models
from audiocodec.evaluation.metrics.stoi import stoi
from audiocodec.runtime import RuntimeCodec


@pytest.fixture(scope="module")
def model() -> RuntimeCodec:
    return load_codec("speech_16khz")


def test_it_is_bundled_with_its_card() -> None:
    import audiocodec

    assert "speech_16khz" in bundled_models()
    card = Path(audiocodec.__file__).parent / "models" / "speech_16khz" / "README.md"
    for word in ("CC BY 4.0", "LibriSpeech", "PESQ", "STOI", "codec evaluate"):
        assert word in card.read_text()


def test_it_is_small_and_states_its_rates(model: RuntimeCodec) -> None:
    assert model.frame_rate == 50
    assert [model.bitrate(n) for n in (1, 3, 12)] == [500, 1500, 6000]
    assert model.num_parameters < 12e6


def test_speech_stays_intelligible_and_gains_with_codebooks(
    model: RuntimeCodec, speech: torch.Tensor, say: Callable[[str], None]
) -> None:
    codes = model.encode(speech)
    scores = []
    for number in (1, 3, 12):
        made = model.decode(codes[:, :number], speech.shape[-1])
        scores.append(stoi(made[0, 0].numpy(), speech[0, 0].numpy(), 16000))
    say(f"STOI at 0.5, 1.5 and 6 kbps: {[round(score, 3) for score in scores]}")
    assert scores == sorted(scores)
    assert scores[-1] > 0.8


@pytest.mark.parametrize("piece", [7, 320, 1000, 16000])
def test_pieces_give_the_codes_of_the_whole(
    model: RuntimeCodec, speech: torch.Tensor, piece: int, say: Callable[[str], None]
) -> None:
    audio = speech[..., :9600] if piece == 7 else speech
    whole = model.encode(audio)
    encoder = StreamEncoder(model)
    codes = [encoder.push(part) for part in audio.split(piece, dim=-1)] + [encoder.flush()]
    differing = (torch.cat(codes, -1) != whole).float().mean().item()
    say(f"float32, pieces of {piece}: {differing:.3%} of the codes differ")
    assert differing < 0.01


def test_pieces_give_exactly_the_codes_of_the_whole_in_float64(speech: torch.Tensor) -> None:
    exact = load_codec("speech_16khz", dtype=torch.float64)
    audio = speech[..., :48000].double()
    whole = exact.encode(audio)
    for piece in (7, 320, 1000, 16000):
        encoder = StreamEncoder(exact)
        codes = [encoder.push(part) for part in audio.split(piece, dim=-1)] + [encoder.flush()]
        assert torch.equal(torch.cat(codes, -1), whole)
    encoder = StreamEncoder(exact)
    codes = [encoder.push(part) for part in audio[..., :1000].split(1, dim=-1)]
    codes.append(encoder.flush())
    assert torch.equal(torch.cat(codes, -1), exact.encode(audio[..., :1000]))


def test_silence_stays_quiet_and_level_is_kept(model: RuntimeCodec, speech: torch.Tensor) -> None:
    silence = model.decode(model.encode(torch.zeros(1, 1, 16000)))
    assert silence[..., 3200:].abs().max() < 0.01
    made = model.decode(model.encode(speech), speech.shape[-1])
    level = 20 * torch.log10(made.square().mean().sqrt() / speech.square().mean().sqrt())
    assert abs(level.item()) < 3


def test_every_stage_uses_its_codebook_on_real_speech(
    model: RuntimeCodec, shared_data: Path, say: Callable[[str], None]
) -> None:
    """SimVQ's claim, on the validation speakers: over 90 % of 1024 entries in all 12 stages."""
    seen = torch.zeros(12, 1024, dtype=torch.long)
    for file in find_audio(shared_data / "validation")[::2]:
        audio, _ = load_audio(file, 16000)
        codes = model.encode(audio[:1].unsqueeze(0))[0]
        for stage in range(12):
            seen[stage] += torch.bincount(codes[stage], minlength=1024)
    usage = (seen > 0).float().mean(dim=1)
    shares = ", ".join(f"{share:.1%}" for share in usage)
    say(f"entries in use by stage, over {int(seen[0].sum())} frames: {shares}")
    assert usage.min() > 0.9


def test_lengths_come_back_exactly_on_every_kind_of_evaluation_clip(
    model: RuntimeCodec, shared_data: Path
) -> None:
    for file in find_audio(shared_data / "eval")[::15]:
        audio, _ = load_audio(file, 16000)
        made = model.decode(model.encode(audio[:1, None, :80000]), min(80000, audio.shape[-1]))
        assert made.shape[-1] == min(80000, audio.shape[-1])
