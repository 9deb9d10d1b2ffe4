"""The losses, each by itself, and their registry."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from audiocodec import CodecError
from audiocodec.evaluation.metrics.pesq import pesq_wb
from audiocodec.training import Recipe, Trainer
from audiocodec.training.discriminators import DiscriminatorConfig, Discriminators
from audiocodec.training.losses.adversarial import (
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)
from audiocodec.training.losses.config import LossConfig
from audiocodec.training.losses.level import level_loss
from audiocodec.training.losses.loss import Loss
from audiocodec.training.losses.loudness import loudness_loss
from audiocodec.training.losses.registry import LOSSES
from audiocodec.training.losses.spectra import Spectra
from audiocodec.training.losses.spectral import mel_loss, stft_loss
from audiocodec.training.losses.tonal import tonal_loss
from audiocodec.training.schedule import loss_weights

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "recipes" / "tiny.yaml"


def tiny(*overrides: str) -> Recipe:
    """recipes/tiny.yaml, which trains on the bundled clips."""
    return Recipe.from_yaml(TINY, overrides)


def spectral_losses(
    reconstruction: torch.Tensor, reference: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    config = LossConfig()
    spectra = Spectra(reconstruction, reference, 16000, config.window_lengths, config.mel_bands)
    return mel_loss(spectra), stft_loss(spectra)


def test_losses_are_zero_for_equal_audio_and_grow_with_distance() -> None:
    audio = 0.1 * torch.randn(2, 1, 8000)
    near, far = audio + 0.001 * torch.randn_like(audio), audio + 0.1 * torch.randn_like(audio)
    same, close, away = (torch.stack(spectral_losses(other, audio)) for other in (audio, near, far))
    assert same.abs().max() < 1e-6
    assert (close > 0).all() and (away > close).all()


def test_losses_have_finite_gradients_at_silence() -> None:
    reconstruction = torch.zeros(1, 1, 4096, requires_grad=True)
    silence = torch.zeros(1, 1, 4096)
    terms = [
        *spectral_losses(reconstruction, silence),
        loudness_loss(reconstruction, silence, 16000),
        level_loss(reconstruction, silence),
        tonal_loss(reconstruction, silence, (320, 40, 8)),
    ]
    torch.stack(terms).sum().backward()
    assert reconstruction.grad is not None and torch.isfinite(reconstruction.grad).all()


def test_the_loudness_loss_falls_where_pesq_rises(speech: torch.Tensor) -> None:
    audio = speech[..., 8000:56000]
    power = torch.fft.rfft(audio)
    hertz = torch.linspace(0, 8000, power.shape[-1])
    noise = torch.randn_like(audio) * audio.square().mean().sqrt()
    worse = {
        f"noise at {-db} dB": audio + 10 ** (db / 20) * noise for db in (-40, -30, -20, -10)
    } | {
        f"nothing above {limit} Hz": torch.fft.irfft(power * (hertz < limit), audio.shape[-1])
        for limit in (7000, 4000, 2500)
    }
    losses = {
        name: float(loudness_loss(reconstruction, audio, 16000))
        for name, reconstruction in worse.items()
    }
    scores = {
        name: pesq_wb(reconstruction[0, 0].numpy(), audio[0, 0].numpy(), 16000)
        for name, reconstruction in worse.items()
    }
    for kind in ("noise", "nothing"):
        mine = [(losses[name], scores[name]) for name in worse if name.startswith(kind)]
        assert [score for _, score in sorted(mine)] == sorted((score for _, score in mine))[::-1]
    # A raw score is 4.5 less the loss, roughly, and no level of both changes the loss.
    assert np.corrcoef(list(losses.values()), list(scores.values()))[0, 1] < -0.8
    reconstruction = worse["noise at 20 dB"]
    quiet = loudness_loss(0.1 * reconstruction, 0.1 * audio, 16000)
    torch.testing.assert_close(
        quiet, loudness_loss(reconstruction, audio, 16000), rtol=1e-3, atol=1e-4
    )
    assert loudness_loss(audio, audio, 16000) < 1e-3


def test_the_level_loss_is_the_change_of_level(speech: torch.Tensor) -> None:
    audio = speech[..., 8000:56000]
    for decibels in (-3.0, 0.0, 2.0):
        loss = level_loss(10 ** (decibels / 20) * audio, audio)
        torch.testing.assert_close(loss, torch.tensor(abs(decibels) / 20), rtol=1e-3, atol=1e-5)


PERIODS = (320, 40, 8)
"""Samples in a column of each level of the bundled model: rates of 50, 400 and 2,000 Hz."""


def test_the_tonal_loss_grows_with_what_repeats_in_every_column_of_a_level_only() -> None:
    hop = PERIODS[0]
    noise = 0.01 * torch.randn(8, 1, 48 * hop)
    assert tonal_loss(noise, noise, PERIODS) == 0
    other = tonal_loss(0.01 * torch.randn_like(noise), noise, PERIODS)
    changing = torch.randn(1, 1, hop).repeat(8, 1, 48) * torch.randn(8, 1, 48).repeat_interleave(
        hop, dim=-1
    )
    assert other < 0.05
    assert tonal_loss(noise + 0.01 * changing, noise, PERIODS) < 0.1
    for period in PERIODS:
        repeating = torch.randn(1, 1, period).repeat(8, 1, 48 * hop // period)
        losses = [
            float(tonal_loss(noise + gain * repeating, noise, PERIODS))
            for gain in (0.001, 0.003, 0.03)
        ]
        assert losses == sorted(losses) and losses[2] > max(0.15, 5 * other)
    # Every other frame turned round: lines half-way between, which are no better.
    repeating = torch.randn(1, 1, hop).repeat(8, 1, 48)
    twice = torch.randn(1, 1, 2 * hop).repeat(8, 1, 24)
    assert tonal_loss(noise + 0.01 * twice, noise, PERIODS) > 0.05
    turned = repeating * torch.tensor([1.0, -1.0]).repeat(24).repeat_interleave(hop)
    assert tonal_loss(noise + 0.01 * turned, noise, PERIODS) > 0.2


def comb(spacing: int, length: int) -> torch.Tensor:
    """Lines of equal power at the multiples of ``spacing`` Hz from 2.0 to 7.6 kHz, ``[1, 1, T]``,
    with a root-mean-square of 1 and random phases."""
    time = torch.arange(length, dtype=torch.float64) / 16000
    hertz = torch.arange(-(-2000 // spacing) * spacing, 7601, spacing)
    phases = 2 * torch.pi * (hertz.unsqueeze(1) * time + torch.rand(len(hertz), 1))
    lines = phases.cos().sum(dim=0)
    return (lines / lines.square().mean().sqrt()).float()[None, None]


def test_the_tonal_loss_hears_whistles_in_speech_and_nothing_in_a_clean_copy(
    speech: torch.Tensor,
) -> None:
    audio = speech[..., 8000:56000]
    envelope = torch.nn.functional.avg_pool1d(audio.square(), 801, 1, 400).sqrt()
    noisy = audio + 0.03 * envelope * torch.randn_like(audio)
    clean = float(tonal_loss(noisy, audio, PERIODS))
    for spacing in (50, 400, 2000):
        whistling = noisy + 0.03 * envelope * comb(spacing, audio.shape[-1])
        assert tonal_loss(whistling, audio, PERIODS) > clean + 0.05, spacing
    # One line in eight is not lost among the others.
    lines = noisy + 0.03 * envelope * comb(400, audio.shape[-1])
    assert tonal_loss(lines, audio, PERIODS) - clean > 3 * (
        tonal_loss(lines, audio, PERIODS[:1]) - tonal_loss(noisy, audio, PERIODS[:1])
    )


def test_a_decoder_says_at_which_rates_it_can_whistle() -> None:
    assert tiny().codec.seanet.periods == PERIODS


def test_discriminators_learn_to_tell_noise_from_a_tone() -> None:
    discriminators = Discriminators(
        DiscriminatorConfig(
            start_step=0, stft_windows=(256,), stft_channels=4, periods=(3,), period_channels=(4, 8)
        )
    )
    real = torch.sin(torch.arange(2048) / 4).repeat(2, 1, 1)
    fake = torch.randn(2, 1, 2048)
    optimizer = torch.optim.Adam(discriminators.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = discriminator_loss(discriminators(real), discriminators(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert adversarial_loss(discriminators(fake)) > adversarial_loss(discriminators(real))
    assert feature_matching_loss(discriminators(real), discriminators(real)) == 0
    assert feature_matching_loss(discriminators(real), discriminators(fake)) > 0


def offset_loss(reconstruction: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Squared difference of the means of two clips."""
    return (reconstruction.mean(dim=-1) - reference.mean(dim=-1)).square().mean()


def test_a_loss_is_one_function_and_one_registration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CodecError, match=r"unknown key `losses\.offset`; known keys: adversarial,"):
        tiny("losses.offset=2")
    monkeypatch.setitem(LOSSES, "offset", Loss(offset_loss, weight=0.0, description="of means"))
    assert tiny().losses.weight("offset") == 0
    with pytest.raises(CodecError, match=r"unknown key `losses\.ofset`; did you mean `offset`\?"):
        tiny("losses.ofset=2")
    with pytest.raises(CodecError, match=r"`losses\.offset`: input should be greater than"):
        tiny("losses.offset=-2")
    recipe = tiny("losses.offset=2", "schedule.steps=2", "schedule.log_every=1")
    assert Trainer(recipe, tmp_path / "run").train()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    assert [line["step"] for line in lines if line.get("loss/offset", -1.0) >= 0] == [1, 2]
    assert Recipe.from_yaml(tmp_path / "run" / "recipe.yaml").losses == recipe.losses


def test_a_loss_with_an_unknown_input_is_refused() -> None:
    def pitch_loss(reconstruction: torch.Tensor, pitch: torch.Tensor) -> torch.Tensor:
        return (reconstruction - pitch).mean()

    with pytest.raises(TypeError, match="pitch_loss: a loss has no input `pitch`; it can have rec"):
        Loss(pitch_loss, weight=1.0, description="of pitch")


def test_when_a_loss_is_computed_follows_from_what_it_needs() -> None:
    recipe = tiny()  # codebooks from step 5, discriminators from 20 to 30
    plain = {"mel": 15.0, "stft": 5.0, "waveform": 5.0}
    assert loss_weights(recipe, 4) == plain
    assert loss_weights(recipe, 19) == plain | {"quantizer": 1.0}
    ramp = {"quantizer": 1.0, "adversarial": 0.5, "feature_matching": 1.0}
    assert loss_weights(recipe, 24) == plain | ramp
    assert loss_weights(recipe, 39)["adversarial"] == 1
    assert loss_weights(tiny("losses.level=2"), 0) == plain | {"level": 2.0}
