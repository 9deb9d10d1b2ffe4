"""Ways to make a training step cheaper: what they compute stays what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from audiocodec.training import Recipe
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.draws import drawn_set, fixed_sets
from audiocodec.training.initialisation import initialise_codebooks
from audiocodec.training.losses.config import LossConfig
from audiocodec.training.losses.spectra import Spectra, magnitudes_and_log_mels
from audiocodec.training.losses.spectral import mel_loss, stft_loss
from audiocodec.training.schedule import step_variant
from audiocodec.training.step import TrainingStep

TINY = Path(__file__).resolve().parents[1] / "recipes" / "tiny.yaml"


def trained(*overrides: str, steps: int = 1) -> TrainingStep:
    """A step of tiny.yaml with discriminators, after some steps on the same noise."""
    first = ("discriminators.start_step=0", "schedule.initialisation_steps=[0]")
    training = TrainingStep(Recipe.from_yaml(TINY, [*first, *overrides]))
    audio = 0.1 * torch.randn(2, 1, 2560, generator=torch.Generator().manual_seed(0))
    initialise_codebooks(training, lambda _: Batch(audio, audio), 0, frames=256)
    for step in range(steps):
        training(audio, step)
    return training


def weights(module: torch.nn.Module | None) -> torch.Tensor:
    assert module is not None
    return torch.cat([value.detach().flatten() for value in module.parameters()])


@pytest.mark.parametrize(("count", "size"), [(7, 3), (9, 3), (9, 4), (8, 1), (5, 5)])
def test_each_thing_is_in_equally_many_of_a_few_sets(count: int, size: int) -> None:
    sets = fixed_sets(count, size)
    assert len(sets) <= count and all(len(set(found)) == size for found in sets)
    often = [sum(thing in found for found in sets) for thing in range(count)]
    assert len(set(often)) == 1
    drawn = [drawn_set(count, size, 0, step) for step in range(3 * len(sets))]
    for start in range(0, len(drawn), len(sets)):
        assert sorted(drawn[start : start + len(sets)]) == sets  # each once in a round


def test_a_few_windows_are_on_average_all_windows() -> None:
    config = LossConfig()
    reference = 0.1 * torch.randn(1, 1, 4096)
    reconstruction = reference + 0.02 * torch.randn_like(reference)

    def losses(places: tuple[int, ...]) -> torch.Tensor:
        lengths, bands = (
            [values[place] for place in places]
            for values in (config.window_lengths, config.mel_bands)
        )
        spectra = Spectra(reconstruction, reference, 16000, lengths, bands)
        return torch.stack([mel_loss(spectra), stft_loss(spectra)])

    drawn = torch.stack([losses(places) for places in fixed_sets(7, 3)])
    assert torch.allclose(drawn.mean(dim=0), losses(tuple(range(7))), rtol=1e-5)
    assert (drawn.std(dim=0) > 0).all()


def test_a_step_computes_the_windows_that_are_its_turn() -> None:
    recipe = Recipe.from_yaml(TINY, ["losses.windows_per_step=1"])
    windows = [step_variant(recipe, step, step, ()).windows for step in range(6)]
    assert sorted(windows[:3]) == sorted(windows[3:]) == [(0,), (1,), (2,)]
    whole = Recipe.from_yaml(TINY)
    assert step_variant(whole, 4, 4, ()).windows == (0, 1, 2)
    one, all_of_them = (trained(f"losses.windows_per_step={n}").means.read() for n in ("1", "null"))
    assert one["loss/waveform"] == all_of_them["loss/waveform"]
    assert one["loss/mel"] != all_of_them["loss/mel"]


def test_no_gradient_of_the_reference_is_computed() -> None:
    audio = (0.1 * torch.randn(2, 1, 1, 1024)).requires_grad_(True)
    reconstruction, reference = audio
    spectra = Spectra(reconstruction, reference, 16000, (64, 256), (10, 40))
    (mel_loss(spectra) + stft_loss(spectra)).backward()
    assert audio.grad is not None
    assert audio.grad[0].abs().max() > 0 and audio.grad[1].abs().max() == 0


def differing(one: torch.nn.Module | None, other: torch.nn.Module | None) -> float:
    """The share of two networks' weights that a step of Adam has moved differently."""
    return float(((weights(one) - weights(other)).abs() > 1e-5).float().mean())


def test_one_pass_serves_both_updates() -> None:
    fast = "discriminators.learning_rate=0.1"
    apart, shared = (trained(fast, f"discriminators.shared_pass={x}") for x in ("false", "true"))
    # The discriminators learn the same; a gradient of 0 may be rounded to either side.
    assert differing(apart.discriminators, shared.discriminators) < 0.02
    # The codec learns from them as they were before: as if they had not learnt yet.
    frozen = trained("discriminators.learning_rate=1e-12")
    assert differing(frozen.codec, shared.codec) < 1e-4 < differing(apart.codec, shared.codec)
    assert shared.discriminators is not None
    assert not any(p.requires_grad for p in shared.discriminators.parameters())


def test_channels_last_computes_the_same_and_precision_spares_the_ends() -> None:
    plain, last = trained(steps=0), trained("compute.channels_last=true", steps=0)
    audio = 0.1 * torch.randn(1, 1, 2560)
    assert torch.allclose(plain.codec.autoencode(audio), last.codec.autoencode(audio), atol=1e-5)
    assert plain.codec.state_dict().keys() == last.codec.state_dict().keys()
    assert type(last.average.codec.decoder.last) is type(plain.codec.decoder.last)

    trunk = trained("precision=bfloat16_trunk")
    assert trunk.skips.read() == (0, 0)
    kinds: dict[str, torch.dtype] = {}

    def note(name: str) -> Any:
        return lambda module, inputs, output: kinds.update({name: output.dtype})

    decoder = trunk.codec.decoder
    for name, layer in (("first", decoder.first), ("up", decoder.upsamples[0])):
        layer.register_forward_hook(note(name))
    decoder.last.register_forward_hook(note("last"))
    with torch.autocast("cpu", torch.bfloat16):
        decoder(torch.randn(1, 16, 4))
    assert kinds == {"first": torch.float32, "up": torch.bfloat16, "last": torch.float32}


def test_what_is_compiled_is_what_the_step_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []

    def spectrum(*arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        compiled.append(arguments)
        return magnitudes_and_log_mels(*arguments)

    def compile(function: Any, **_: Any) -> Any:
        compiled.append(function)
        return spectrum if function is magnitudes_and_log_mels else function

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **_: compiled.append(module))
    training = trained("compute.compile=[network, spectra]")
    encoder, decoder = training.codec.encoder, training.codec.decoder
    assert compiled[:3] == [encoder.unscaled, decoder, magnitudes_and_log_mels]
    assert len(compiled) == 3 + 2 * 3  # three windows of reconstruction and reference
