"""Training augmentations: what they add, to whom, and that they depend on seed and step alone."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from audiocodec import CodecError
from audiocodec.training import Recipe, Trainer
from audiocodec.training.data.augmentations.augmentation import Augmentation, Draw, rms
from audiocodec.training.data.augmentations.babble import Babble
from audiocodec.training.data.augmentations.batch import Batch, augmented
from audiocodec.training.data.augmentations.config import AugmentConfig
from audiocodec.training.data.augmentations.hum import Hum
from audiocodec.training.data.augmentations.noise import Noise
from audiocodec.training.data.augmentations.offset import Offset
from audiocodec.training.data.augmentations.room import Room
from audiocodec.training.data.augmentations.rumble import Rumble
from audiocodec.training.data.segments import SegmentSampler
from audiocodec.training.processes import WHOLE, Share

TINY = Path(__file__).resolve().parents[1] / "recipes" / "tiny.yaml"
RATE = 16_000
ALL = ("room", "babble", "noise", "rumble", "hum", "offset")
EVERYTHING = [f"data.augment.{name}.probability=0.7" for name in ALL]


def segments(random: np.random.Generator, count: int, _: Share = WHOLE) -> Tensor:
    return torch.from_numpy(random.normal(0, 0.05, (count, RATE))).float()


def draw(batch: int = 16, seed: int = 0) -> Draw:
    return Draw((seed, 3, "x"), torch.zeros(batch, 1, RATE), RATE, segments)


def level_db(audio: Tensor) -> Tensor:
    return 20 * rms(audio).flatten().log10()


def power(audio: Tensor) -> Tensor:
    """Power of the lines of one second, 1 Hz apart: ``[B, 8001]``."""
    return torch.fft.rfft(audio[:, 0].double()).abs().square()


SILENCE = torch.zeros(16, 1, RATE)


def test_an_offset_is_a_constant_of_either_sign_up_to_a_tenth() -> None:
    added = Offset()(torch.zeros(64, 1, RATE), draw(64))
    assert torch.equal(added, added[..., :1].expand_as(added))
    assert added.abs().max() <= 0.1
    assert added.min() < -0.05 and added.max() > 0.05


def test_hum_has_lines_at_the_mains_frequency_and_its_harmonics_alone() -> None:
    added = Hum(level_db=(-40, -40), harmonics=5)(SILENCE, draw())
    assert torch.allclose(level_db(added), torch.tensor(-40.0), atol=0.01)
    seen = set()
    for lines in power(added):
        mains = 50 if lines[[50, 100, 150, 200, 250]].sum() > 0.9 * lines.sum() else 60
        harmonics = mains * torch.arange(1, 6)
        assert lines[harmonics].sum() > 0.9999 * lines.sum()
        seen.add(mains)
    assert seen == {50, 60}


def test_rumble_is_noise_below_80_hz() -> None:
    added = Rumble(level_db=(-30, -30), below_hz=(60, 80))(SILENCE, draw())
    assert torch.allclose(level_db(added), torch.tensor(-30.0), atol=0.01)
    lines = power(added)
    assert (lines[:, 5:81].sum(dim=1) > 0.999999 * lines.sum(dim=1)).all()
    assert (lines[:, 30:60].sum(dim=1) > 0.2 * lines.sum(dim=1)).all()


@pytest.mark.parametrize(("colour", "slope"), [("white", 0.0), ("pink", -3.0), ("hiss", 6.0)])
def test_noise_has_its_level_and_slope(colour: str, slope: float) -> None:
    noise = Noise.from_mapping({"level_db": [-60, -20], "colours": [colour]})
    added = noise(SILENCE, draw())
    levels = level_db(added)
    assert levels.min() >= -60.01 and levels.max() <= -19.99
    assert levels.max() - levels.min() > 20
    lines = (power(added) / power(added).sum(dim=1, keepdim=True)).mean(dim=0)
    octaves = [lines[low : 2 * low].mean() for low in (250, 500, 1000, 2000, 4000)]
    steps = [10 * math.log10(high / low) for low, high in itertools.pairwise(octaves)]
    assert steps == pytest.approx([slope] * 4, abs=0.5)


def test_noise_is_steady() -> None:
    added = Noise(level_db=(-30, -30))(SILENCE, draw())
    parts = level_db(added.unflatten(-1, (10, -1)).flatten(0, 2).unsqueeze(1))
    assert torch.allclose(parts, torch.tensor(-30.0), atol=2.5)


@pytest.mark.parametrize("rt60", [0.1, 0.3, 0.6])
def test_a_room_decays_by_60_db_in_its_reverberation_time(rt60: float) -> None:
    """Schroeder's backward integration, from -5 to -25 dB of the reverberation (ISO 3382)."""
    impulse = torch.zeros(16, 1, RATE)
    impulse[..., 0] = 1
    response = Room(rt60_seconds=(rt60, rt60), direct_db=(0, 0))(impulse, draw())
    tail = response[:, 0, 48:].double().square()
    left = tail.flip(1).cumsum(1).flip(1) / tail.sum(1, keepdim=True)
    decay = 10 * left.clamp_min(1e-30).log10()
    times = [
        3 * float((curve < -25).nonzero()[0] - (curve < -5).nonzero()[0]) / RATE for curve in decay
    ]
    assert np.mean(times) == pytest.approx(rt60, rel=0.08)


def test_a_room_adds_no_delay_and_keeps_the_level() -> None:
    noise = torch.randn(16, 1, RATE, generator=torch.Generator().manual_seed(0))
    heard = Room(direct_db=(3, 3))(noise, draw())
    assert torch.allclose(level_db(heard), torch.tensor(0.0), atol=0.5)
    spectra = torch.fft.rfft(heard).conj() * torch.fft.rfft(noise)
    correlation = torch.fft.irfft(spectra)
    assert (correlation.abs().argmax(dim=-1) == 0).all()
    impulse = torch.zeros(16, 1, RATE)
    impulse[..., 0] = 1
    energy = Room(direct_db=(3, 3))(impulse, draw()).square()[:, 0]
    ratio = 10 * (energy[:, 0] / energy[:, 1:].sum(dim=1)).log10()
    assert torch.allclose(ratio, torch.tensor(3.0), atol=0.1)


def test_babble_is_speech_below_the_speech() -> None:
    speech = torch.randn(16, 1, RATE, generator=torch.Generator().manual_seed(1)) * 0.02
    added = Babble(snr_db=(10, 10))(speech, draw()) - speech
    assert torch.allclose(level_db(speech) - level_db(added), torch.tensor(10.0), atol=0.01)
    one = Babble(snr_db=(10, 10), voices=(1, 1))(speech, draw()) - speech
    voice = draw().speech(1)  # with one voice the draw begins with its segments
    assert torch.allclose(one / rms(one), voice / rms(voice), atol=1e-4)


def test_the_draw_depends_on_seed_number_and_name_alone() -> None:
    speech = segments(np.random.default_rng(0), 4).unsqueeze(1)
    config = config_of(noise=1.0, room=0.5)

    def batch(seed: int, number: int, config: AugmentConfig = config) -> Tensor:
        return augmented(speech, config, RATE, (seed, number), segments).audio

    assert torch.equal(batch(0, 1), batch(0, 1))
    assert not torch.equal(batch(0, 1), batch(0, 2))
    assert not torch.equal(batch(0, 1), batch(1, 1))
    # Another augmentation does not change what this one draws.
    noise = batch(0, 1, config_of(noise=1.0)) - speech
    both = augmented(speech, config_of(noise=1.0, offset=1.0), RATE, (0, 1), segments)
    assert torch.allclose(both.reference - speech, noise, atol=1e-6)


def config_of(denoise: tuple[str, ...] | None = None, **probabilities: float) -> AugmentConfig:
    values: dict[str, object] = {n: {"probability": p} for n, p in probabilities.items()}
    if denoise is not None:
        values["denoise"] = denoise
    return AugmentConfig.from_mapping(values)


def test_the_reference_lacks_what_is_to_be_removed_and_only_that() -> None:
    speech = segments(np.random.default_rng(0), 4).unsqueeze(1)

    def batch(config: AugmentConfig) -> Batch:
        return augmented(speech, config, RATE, (0, 1), segments)

    for name in ("offset", "hum", "rumble"):
        removed = batch(config_of(**{name: 1.0}))
        assert torch.equal(removed.reference, speech) and not torch.equal(removed.audio, speech)
        kept = batch(config_of((), **{name: 1.0}))
        assert kept.audio is kept.reference and torch.equal(kept.audio, removed.audio)
    for name in ("noise", "room", "babble"):
        coded = batch(config_of(**{name: 1.0}))
        assert coded.audio is coded.reference and not torch.equal(coded.audio, speech)
    mixed = batch(config_of(noise=1.0, offset=1.0))
    assert torch.equal(mixed.reference, batch(config_of(noise=1.0)).audio)
    # What the reference has is the same when it is applied after what it has not.
    later = batch(config_of(("noise",), noise=1.0, offset=1.0))
    alone = batch(config_of((), offset=1.0))
    assert torch.equal(later.reference, alone.audio)


def test_a_share_of_the_segments_is_augmented() -> None:
    speech = torch.zeros(1000, 1, 320)
    config = config_of((), offset=0.3)
    audio = augmented(speech, config, RATE, (0, 0), segments).audio
    assert float((audio[:, 0, 0] != 0).float().mean()) == pytest.approx(0.3, abs=0.05)


def test_audio_stays_within_full_scale() -> None:
    speech = torch.ones(4, 1, RATE)
    config = config_of(noise=1.0, offset=1.0, babble=1.0)
    for audio in augmented(speech, config, RATE, (0, 0), segments):
        assert audio.abs().max() <= 1


# In a recipe and in a run.


def tiny(*overrides: str) -> Recipe:
    return Recipe.from_yaml(TINY, overrides)


def test_no_recipe_augments_unless_it_says_so(tmp_path: Path) -> None:
    """And then a batch is what gain and polarity make of the audio, one tensor, as before."""
    assert not list(tiny().data.augment.in_use())
    trainer = Trainer(tiny(), tmp_path / "off")
    audio, reference = trainer.sampler.batch(5)
    assert audio is reference
    random = np.random.default_rng((0, 5))
    cut = trainer.sampler.source.draw((0, 5), 4, WHOLE, 5)
    gains = 10 ** (random.uniform(-10, 6, 4) / 20) * random.choice([-1.0, 1.0], 4) / 32768
    scale = torch.from_numpy(gains).float().view(-1, 1, 1)
    expected = cut.unsqueeze(1) * scale
    assert torch.equal(audio, expected.clamp(-1, 1))
    augmenting = Trainer(tiny("data.augment.offset.probability=1"), tmp_path / "on")
    assert torch.equal(augmenting.sampler.batch(5).reference, audio)


def test_a_resumed_run_with_augmentations_equals_one_that_never_stopped(tmp_path: Path) -> None:
    recipe = tiny(*EVERYTHING, "schedule.steps=16", "schedule.checkpoint_every=8")
    whole = Trainer(recipe, tmp_path / "whole")
    assert whole.train()
    first = Trainer(recipe, tmp_path / "part")
    assert not first.train(time_limit=0)  # one step, and a whole checkpoint
    resumed = Trainer(recipe, tmp_path / "part", resume=True)
    assert resumed.step == 1
    assert resumed.train()
    one, other = (t.training_step.codec.state_dict() for t in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert whole.skipped == 0


def test_the_codec_is_trained_towards_the_reference(tmp_path: Path) -> None:
    trainer = Trainer(tiny("discriminators=null"), tmp_path / "run")
    audio = trainer.sampler.batch(0).audio
    step = trainer.training_step
    with torch.no_grad():
        target = step.codec.autoencode(audio)
    to_itself = float(step(audio, 0)["loss"])
    trainer = Trainer(tiny("discriminators=null"), tmp_path / "again")
    assert float(trainer.training_step(audio, 0, target)["loss"]) < 0.1 * to_itself


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("data.augment.hun.probability=1", "did you mean `hum`"),
        ("data.augment.hum.levle_db=[0, 0]", "did you mean `level_db`"),
        ("data.augment.hum.probability=2", "less than or equal to 1"),
        ("data.augment.noise.level_db=[-20, -60]", "the first value of `level_db` is greater"),
        ("data.augment.room.rt60_seconds=[0, 1]", "greater than or equal to 0.05"),
        ("data.augment.noise.colours=[brown]", "'white', 'pink' or 'hiss'"),
        ("data.augment.denoise=[echo]", "none of room, babble, noise, rumble, hum, offset"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(setting: str, words: str) -> None:
    with pytest.raises(CodecError) as told:
        tiny(setting)
    assert words in str(told.value) and "\n" not in str(told.value)


def test_the_settings_that_a_recipe_shows_are_the_defaults() -> None:
    """Apart from the probabilities."""
    text = (TINY.parent / "speech_16khz.yaml").read_text(encoding="utf-8")
    shown = text.split("  # augment:\n")[1].split("\n\n")[0]
    values = yaml.safe_load(shown.replace("  #   ", ""))
    config = AugmentConfig.from_mapping(values)
    assert [name for name, _ in config.in_use()] == list(ALL)
    for name in ALL:
        assert getattr(config, name).model_copy(update={"probability": 0.0}) == getattr(
            AugmentConfig(), name
        )


def test_settings_survive_the_file_of_a_run(tmp_path: Path) -> None:
    recipe = tiny(*EVERYTHING, "data.augment.denoise=[hum]", "data.augment.noise.colours=[pink]")
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert Recipe.from_yaml(tmp_path / "recipe.yaml") == recipe


def test_every_augmentation_of_a_short_odd_segment_is_finite() -> None:
    speech = torch.randn(3, 1, 321, generator=torch.Generator().manual_seed(0)) * 0.1

    def short(random: np.random.Generator, count: int, _: Share) -> Tensor:
        return torch.from_numpy(random.normal(0, 0.05, (count, 321))).float()

    config = AugmentConfig.from_mapping({name: {"probability": 1.0} for name in ALL})
    assert [name for name, _ in config.in_use()] == list(ALL)
    for name, augmentation in config.in_use():
        assert isinstance(augmentation, Augmentation)
        for input in (speech, torch.zeros_like(speech)):
            output = augmentation(input, Draw((0, 0, name), input, RATE, short))
            assert output.shape == input.shape and bool(output.isfinite().all()), name


def test_a_sampler_gives_babble_other_segments(tmp_path: Path) -> None:
    sampler: SegmentSampler = Trainer(tiny(), tmp_path / "run").sampler
    others = sampler._others(np.random.default_rng(0), 7, WHOLE)
    assert others.shape == (7, sampler.source.length)
    assert (level_db(others.unsqueeze(1)) > -50).all()
