"""What training promises: recipes checked first, exact resume, whole checkpoints, honest guards."""

import json
import signal
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import CodecError, load_codec
from audiocodec.config import read_yaml
from audiocodec.evaluation.metrics import pesq_wb
from audiocodec.training import Recipe, Trainer
from audiocodec.training.clipping import clip_to_usual
from audiocodec.training.data import AudioCache, DataConfig, SegmentSampler
from audiocodec.training.discriminators import DiscriminatorConfig, Discriminators
from audiocodec.training.losses import (
    LossConfig,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    level_loss,
    spectral_losses,
    tonal_loss,
)
from audiocodec.training.loudness import loudness_loss
from audiocodec.training.monitor import MeanMeter, UsageMeter
from audiocodec.training.schedule import discriminators_in_use, is_quantizing
from audiocodec.training.trainer import step_if

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "recipes" / "tiny.yaml"


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of the bundled clips as three files, one of them stereo at another rate."""
    folder = tmp_path_factory.mktemp("speech")
    clips = sorted((ROOT / "audiocodec" / "clips").glob("*.flac"))
    audio, rate = soundfile.read(clips[0], dtype="float32")
    for index in range(3):
        piece = audio[index * 2 * rate : (index + 1) * 2 * rate]
        if index == 2:
            soundfile.write(folder / "2.wav", np.stack([piece, piece], 1).repeat(2, 0), 2 * rate)
        else:
            soundfile.write(folder / f"{index}.flac", piece, rate)
    return folder


def tiny(speech_folder: Path, *overrides: str) -> Recipe:
    return Recipe.from_yaml(TINY, [f"data.root={speech_folder}", "data.librispeech=[]", *overrides])


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [*trainer.codec.state_dict().values(), *trainer.ema.state_dict().values()]


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_is_whole_and_builds(recipe: Path) -> None:
    from audiocodec import Codec

    settings = Recipe.from_yaml(recipe)
    codec = Codec(settings.codec)
    assert codec.bitrate() > 0
    if settings.discriminators is not None:
        Discriminators(settings.discriminators)
    text = recipe.read_text()
    for word in ("codec train", "# Needs:", "# Result:"):
        assert word in text


def test_a_recipe_may_say_only_how_it_differs_from_another(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "whole.yaml").write_text(TINY.read_text())
    (tmp_path / "r.yaml").write_text(
        "base: below/whole.yaml\nname: other\nschedule: {steps: 7, codebooks: []}\n"
        "codec: {quantizer: {codebook: {kind: vq}}}\n"
    )
    whole, recipe = Recipe.from_yaml(TINY), Recipe.from_yaml(tmp_path / "r.yaml", ["seed=3"])
    assert (recipe.name, recipe.seed, recipe.schedule.steps) == ("other", 3, 7)
    assert recipe.schedule.codebooks == ()
    assert recipe.schedule.batch_size == whole.schedule.batch_size
    assert (recipe.codec.quantizer.codebook.kind, recipe.codec.quantizer.codebook.size) == (
        "vq",
        64,
    )
    assert recipe.losses == whole.losses


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base: none.yaml", "none.yaml: cannot be read"),
        ("base: [a.yaml]", "r.yaml: `base` is the path of another file"),
        ("base: r.yaml", "its base r.yaml has a base itself"),
    ],
)
def test_a_base_that_is_none_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(CodecError, match=words):
        Recipe.from_yaml(tmp_path / "r.yaml")


def test_a_recipe_written_out_reads_back_the_same(tmp_path: Path) -> None:
    recipe = Recipe.from_yaml(TINY)
    (tmp_path / "r.yaml").write_text(recipe.to_yaml())
    assert Recipe.from_yaml(tmp_path / "r.yaml") == recipe


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("schedule.stepz=3", "did you mean `steps`"),
        ("schedule.steps=many", "schedule.steps"),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate"),
        ("codec.seanet.channels=[4, 8]", "needs 4 values"),
        ("schedule.codebooks=[1, 99]", "99"),
        ("codec.quantizer.codebook.kind=pq", "vq, simvq"),
        ("data.gain_db=[6, -6]", "gain_db"),
        ("losses.mel_bands=[1]", "mel_bands"),
        ("data.root", "key=value"),
        ("schedule.decoder_only_step=3", "cannot stand still"),
        ("name.first=x", "plain value"),
    ],
)
def test_a_senseless_recipe_is_refused_in_one_line(override: str, words: str) -> None:
    with pytest.raises(CodecError, match=words.replace("[", "\\[")) as caught:
        Recipe.from_yaml(TINY, [override])
    assert "\n" not in str(caught.value)


def test_small_rates_are_numbers() -> None:
    assert Recipe.from_yaml(TINY, ["optimizer.learning_rate=1e-4"]).optimizer.learning_rate == 1e-4


def test_resumed_equals_never_stopped(speech_folder: Path, tmp_path: Path) -> None:
    steps = "schedule.steps=30"
    unbroken = Trainer(tiny(speech_folder, steps), tmp_path / "a")
    assert unbroken.train()
    first = Trainer(tiny(speech_folder, steps), tmp_path / "b")
    assert not first.train(time_limit=0)  # one step, and a whole checkpoint
    assert first.step == 1
    second = Trainer(tiny(speech_folder, steps), tmp_path / "b", resume=True)
    for _ in range(24):  # over the start of the codebooks and of the discriminators
        second.train_step()
    second.save()
    third = Trainer(tiny(speech_folder, steps), tmp_path / "b", resume=True)
    assert third.step == 25
    assert third.train()
    for one, other in zip(weights(unbroken), weights(third), strict=True):
        assert torch.equal(one, other)
    steps_logged = [json.loads(line)["step"] for line in (tmp_path / "b/log.jsonl").open()]
    assert steps_logged == sorted(steps_logged)


def test_a_run_leaves_a_model_discriminators_curves_and_its_recipe(
    speech_folder: Path, tmp_path: Path
) -> None:
    trainer = Trainer(tiny(speech_folder), tmp_path / "run")
    assert trainer.train()
    folder = tmp_path / "run"
    names = {path.name for path in folder.iterdir()}
    assert {"recipe.yaml", "state.pt", "discriminators.safetensors", "log.jsonl"} <= names
    assert list((folder / "tensorboard").iterdir())
    assert not list(folder.rglob("*.part"))
    codec = load_codec(folder / "model")
    assert codec.encode(torch.zeros(1, 1, 3200)).shape == (1, 4, 10)
    numbers = [json.loads(line) for line in (folder / "log.jsonl").open()]
    logged = {key for line in numbers for key in line}
    assert {"loss/mel", "loss/adversarial", "usage/0", "validation/mel_4", "seconds/data"} <= logged
    assert Recipe.from_yaml(folder / "recipe.yaml") == trainer.recipe

    with pytest.raises(CodecError, match="--resume"):
        Trainer(tiny(speech_folder), folder)
    with pytest.raises(CodecError, match="another recipe"):
        Trainer(tiny(speech_folder, "codec.seanet.latent_dim=24"), folder, resume=True)

    fine = tiny(speech_folder, f"init_from={folder / 'model'}", "schedule.initialisation_steps=[]")
    tuned = Trainer(fine, tmp_path / "fine")
    for name, value in trainer.ema.state_dict().items():
        assert torch.equal(tuned.codec.state_dict()[name], value)
    assert tuned.discriminators is not None and trainer.discriminators is not None
    for name, value in trainer.discriminators.state_dict().items():
        assert torch.equal(tuned.discriminators.state_dict()[name], value)
    before = torch.cat([stage.codebook.frozen for stage in tuned.codec.quantizer.stages])
    tuned.train()
    after = torch.cat([stage.codebook.frozen for stage in tuned.codec.quantizer.stages])
    assert torch.equal(before, after)


def test_nothing_to_resume_is_said(speech_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="no run to resume"):
        Trainer(tiny(speech_folder), tmp_path / "none", resume=True)


def test_a_run_that_goes_on_from_a_model_is_quantised_before_its_codebooks_are_placed_again(
    speech_folder: Path, tmp_path: Path
) -> None:
    fresh = tiny(speech_folder, "schedule.initialisation_steps=[5]")
    onwards = fresh.model_copy(update={"init_from": "speech_16khz"})
    assert [is_quantizing(fresh, step) for step in (0, 4, 5)] == [False, False, True]
    assert all(is_quantizing(onwards, step) for step in (0, 4, 5))


def test_init_from_another_architecture_names_the_difference(
    speech_folder: Path, tmp_path: Path
) -> None:
    other = Trainer(tiny(speech_folder, "codec.seanet.latent_dim=24"), tmp_path / "a")
    other.folder.mkdir(parents=True, exist_ok=True)
    other.save()
    with pytest.raises(CodecError, match="another architecture: `"):
        Trainer(tiny(speech_folder, f"init_from={tmp_path / 'a' / 'model'}"), tmp_path / "b")


def test_codebooks_that_are_placed_first_need_not_agree_with_those_of_init_from(
    speech_folder: Path, tmp_path: Path
) -> None:
    first = Trainer(tiny(speech_folder), tmp_path / "a")
    first.folder.mkdir(parents=True, exist_ok=True)
    first.save()
    overrides = [f"init_from={tmp_path / 'a' / 'model'}", "codec.quantizer.dims=[8, 4]"]
    with pytest.raises(CodecError, match=r"`quantizer\.stages\.0"):
        Trainer(tiny(speech_folder, *overrides), tmp_path / "b")
    placed = tiny(speech_folder, *overrides, "schedule.initialisation_steps=[0]")
    second = Trainer(placed, tmp_path / "c")
    for part in ("encoder", "decoder"):
        wanted = getattr(first.codec, part).state_dict()
        for name, value in getattr(second.codec, part).state_dict().items():
            assert torch.equal(value, wanted[name])
    assert second.codec.quantizer.stages[0].codebook.dim == 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_a_whole_checkpoint(
    number: signal.Signals, speech_folder: Path, tmp_path: Path
) -> None:
    trainer = Trainer(tiny(speech_folder, "schedule.steps=100000"), tmp_path / "run")
    timer = threading.Timer(1.0, signal.raise_signal, [number])
    timer.start()
    assert not trainer.train()
    resumed = Trainer(tiny(speech_folder), tmp_path / "run", resume=True)
    assert resumed.step == trainer.step > 0


def test_steps_that_are_not_finite_are_skipped_and_rolled_back(
    speech_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tiny(speech_folder, "schedule.steps=40"), tmp_path / "run")
    whole = trainer.sampler.batch
    monkeypatch.setattr("audiocodec.training.trainer.MOST_SKIPPED_IN_A_ROW", 3)
    broken = {8, 25, 26, 27}

    def batch(step: int) -> torch.Tensor:
        return whole(step) * (float("nan") if step in broken else 1)

    monkeypatch.setattr(trainer.sampler, "batch", batch)
    assert trainer.train()
    assert trainer.skipped == 4
    assert all(bool(torch.isfinite(value).all()) for value in weights(trainer))
    notes = [json.loads(line).get("note", "") for line in (tmp_path / "run/log.jsonl").open()]
    assert any("rolled back" in note for note in notes)


def test_collapse_raises_an_alarm(
    speech_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = Trainer(tiny(speech_folder, "schedule.steps=20"), tmp_path / "run")
    real = trainer.initialise_quantizer

    def collapse() -> None:
        real()
        for stage in trainer.codec.quantizer.stages:
            stage.codebook.frozen.mul_(1e-3).add_(100)
            stage.codebook.frozen[0] = 0

    trainer.initialise_quantizer = collapse  # type: ignore[method-assign]
    trainer.train()
    assert "collapse" in capsys.readouterr().err


def test_batches_depend_on_seed_and_step_alone(speech_folder: Path, tmp_path: Path) -> None:
    files = sorted(speech_folder.iterdir())
    cache = AudioCache(files, 16000, tmp_path)
    assert cache.num_samples == 6 * 16000
    config = DataConfig(root=str(speech_folder), segment_seconds=0.5)
    one, other = (
        SegmentSampler(cache, config, 16000, 4, seed, torch.device("cpu")) for seed in (0, 1)
    )
    first = one.batch(7)
    one.batch(8)
    assert torch.equal(one.batch(7), first)
    assert not torch.equal(other.batch(7), first)
    assert first.shape == (4, 1, 8000)
    assert first.abs().max() <= 1


def test_silent_crops_are_passed_over(tmp_path: Path) -> None:
    loud = 0.3 * np.sin(np.arange(4000) / 5)
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.zeros(12000), loud]), 16000)
    cache = AudioCache([tmp_path / "a.wav"], 16000, tmp_path / "cache")
    config = DataConfig(root=str(tmp_path), segment_seconds=0.1, gain_db=(0, 0))
    sampler = SegmentSampler(cache, config, 16000, 32, 0, torch.device("cpu"))
    assert (sampler.batch(0).square().mean(dim=(1, 2)).sqrt() > 10 ** (-50 / 20)).all()


def test_an_unchanged_corpus_is_decoded_once(
    speech_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(speech_folder.iterdir())
    AudioCache(files, 16000, tmp_path)
    monkeypatch.setattr("audiocodec.training.data._decode_all", None)
    AudioCache(files, 16000, tmp_path)


def test_too_little_audio_is_said(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
    with pytest.raises(CodecError, match="less than one segment"):
        Trainer(tiny(tmp_path), tmp_path / "run")


def test_losses_are_zero_for_equals_and_grow_with_distance() -> None:
    audio = 0.1 * torch.randn(2, 1, 8000)
    near, far = audio + 0.001 * torch.randn_like(audio), audio + 0.1 * torch.randn_like(audio)
    config = LossConfig()
    same, close, away = (
        torch.stack(spectral_losses(other, audio, 16000, config)) for other in (audio, near, far)
    )
    assert same.abs().max() < 1e-6
    assert (close > 0).all() and (away > close).all()


def test_losses_have_finite_gradients_at_silence() -> None:
    made = torch.zeros(1, 1, 4096, requires_grad=True)
    silence = torch.zeros(1, 1, 4096)
    terms = [
        *spectral_losses(made, silence, 16000, LossConfig()),
        loudness_loss(made, silence, 16000),
        level_loss(made, silence),
        tonal_loss(made, silence, 320),
    ]
    torch.stack(terms).sum().backward()
    assert made.grad is not None and torch.isfinite(made.grad).all()


def test_the_loudness_loss_falls_where_pesq_rises(speech: torch.Tensor) -> None:
    sound = speech[..., 8000:56000]
    power = torch.fft.rfft(sound)
    hertz = torch.linspace(0, 8000, power.shape[-1])
    noise = torch.randn_like(sound) * sound.square().mean().sqrt()
    worse = {
        f"noise at {-db} dB": sound + 10 ** (db / 20) * noise for db in (-40, -30, -20, -10)
    } | {
        f"nothing above {limit} Hz": torch.fft.irfft(power * (hertz < limit), sound.shape[-1])
        for limit in (7000, 4000, 2500)
    }
    losses = {name: float(loudness_loss(made, sound, 16000)) for name, made in worse.items()}
    scores = {
        name: pesq_wb(made[0, 0].numpy(), sound[0, 0].numpy(), 16000)
        for name, made in worse.items()
    }
    for kind in ("noise", "nothing"):
        mine = [(losses[name], scores[name]) for name in worse if name.startswith(kind)]
        assert [score for _, score in sorted(mine)] == sorted((score for _, score in mine))[::-1]
    # A raw score is 4.5 less the loss, roughly, and no level of both changes the loss.
    assert np.corrcoef(list(losses.values()), list(scores.values()))[0, 1] < -0.8
    made = worse["noise at 20 dB"]
    quiet = loudness_loss(0.1 * made, 0.1 * sound, 16000)
    torch.testing.assert_close(quiet, loudness_loss(made, sound, 16000), rtol=1e-3, atol=1e-4)
    assert loudness_loss(sound, sound, 16000) < 1e-3


def test_a_wild_gradient_is_held_to_what_is_usual_for_its_tensor_alone() -> None:
    calm, wild, unused = (torch.nn.Parameter(torch.zeros(50)) for _ in range(3))
    optimizer = torch.optim.AdamW([calm, wild, unused], betas=(0.8, 0.99))

    def step(calm_size: float, wild_size: float) -> float:
        calm.grad, wild.grad = calm_size * torch.randn(50), wild_size * torch.randn(50)
        norm = float(clip_to_usual(optimizer, 2.0))
        optimizer.step()
        return norm

    assert step(1.0, 100.0) == pytest.approx(100 * 50**0.5, rel=0.3)  # no past, nothing held
    assert calm.grad is not None and wild.grad is not None
    assert wild.grad.norm() > 500
    for _ in range(30):
        step(1.0, 100.0)
    usual = 100 * 50**0.5
    norm = step(1.0, 1e5)
    assert norm == pytest.approx(1000 * usual, rel=0.3)  # as it was, to be logged
    assert wild.grad.norm() == pytest.approx(2 * usual, rel=0.2)
    assert calm.grad.norm() == pytest.approx(50**0.5, rel=0.4)
    wild.grad, calm.grad = torch.full((50,), torch.nan), torch.zeros(50)
    assert not torch.isfinite(clip_to_usual(optimizer, 2.0))


def test_a_gradient_of_nothing_does_not_silence_what_comes_later() -> None:
    late = torch.nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.AdamW([late], lr=0.1)
    late.grad = torch.zeros(4)
    clip_to_usual(optimizer, 2.0)
    optimizer.step()
    late.grad = torch.ones(4)
    clip_to_usual(optimizer, 2.0)
    optimizer.step()
    assert (late < -0.01).all()


def test_the_level_loss_is_the_change_of_level(speech: torch.Tensor) -> None:
    sound = speech[..., 8000:56000]
    for decibels in (-3.0, 0.0, 2.0):
        loss = level_loss(10 ** (decibels / 20) * sound, sound)
        torch.testing.assert_close(loss, torch.tensor(abs(decibels) / 20), rtol=1e-3, atol=1e-5)


def test_the_tonal_loss_finds_what_repeats_frame_by_frame_and_nothing_else() -> None:
    hop = 320
    noise = 0.01 * torch.randn(8, 1, 48 * hop)
    assert tonal_loss(noise, noise, hop) == 0
    other = tonal_loss(0.01 * torch.randn_like(noise), noise, hop)
    changing = torch.randn(1, 1, hop).repeat(8, 1, 48) * torch.randn(8, 1, 48).repeat_interleave(
        hop, dim=-1
    )
    repeating = torch.randn(1, 1, hop).repeat(8, 1, 48)
    twice = torch.randn(1, 1, 2 * hop).repeat(8, 1, 24)
    assert other < 0.1
    assert tonal_loss(noise + 0.01 * changing, noise, hop) < 0.1
    losses = [
        float(tonal_loss(noise + gain * repeating, noise, hop)) for gain in (0.001, 0.01, 0.1)
    ]
    assert losses == sorted(losses) and losses[1] > 0.3 and losses[2] > 0.45
    # Every other frame turned round: lines half-way between, which are no better.
    assert tonal_loss(noise + 0.01 * twice, noise, hop) > 0.05
    turned = repeating * torch.tensor([1.0, -1.0]).repeat(24).repeat_interleave(hop)
    assert tonal_loss(noise + 0.01 * turned, noise, hop) > 0.3


def test_discriminators_learn_to_tell_noise_from_tone_and_hinge_losses_say_so() -> None:
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


def test_a_step_uses_some_discriminators_and_all_have_their_turn(
    speech_folder: Path, tmp_path: Path
) -> None:
    recipe = tiny(
        speech_folder,
        "discriminators.start_step=0",
        "discriminators.update_every=1",
        "discriminators.per_step=2",
        "discriminators.periods=[2, 3, 5]",
    )
    trainer = Trainer(recipe, tmp_path / "run")
    discriminators = trainer.discriminators
    assert discriminators is not None and len(discriminators.networks) == 4
    names = discriminators.names
    assert set(discriminators_in_use(tiny(speech_folder), 0, names)) == set(names)
    assert discriminators_in_use(recipe, 5, names) == discriminators_in_use(recipe, 5, names)
    assert set().union(*(discriminators_in_use(recipe, step, names) for step in range(40))) == set(
        names
    )
    before = {
        name: [p.clone() for p in discriminator.parameters()]
        for name, discriminator in discriminators.networks.items()
    }
    trainer.train_step()
    learned = {
        name
        for name, discriminator in discriminators.networks.items()
        if any(
            not torch.equal(a, b)
            for a, b in zip(before[name], discriminator.parameters(), strict=True)
        )
    }
    assert len(learned) == 2


def test_without_an_adversarial_loss_no_discriminator_is_used(
    speech_folder: Path, tmp_path: Path
) -> None:
    recipe = tiny(speech_folder, "discriminators.start_step=0", "losses.adversarial=0")
    assert recipe.losses.feature_matching > 0
    trainer = Trainer(recipe, tmp_path / "run")
    before = [value.clone() for value in trainer.codec.state_dict().values()]
    trainer.train_step()
    assert trainer.skipped == 0
    after = trainer.codec.state_dict().values()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_discriminators_that_are_known_are_taken_over_and_others_start_anew() -> None:
    narrow = {"start_step": 0, "stft_channels": 4, "period_channels": (4, 8)}
    old = Discriminators(DiscriminatorConfig(stft_windows=(256, 512), periods=(3,), **narrow))
    settings = DiscriminatorConfig(stft_windows=(1024, 256), periods=(3, 5), **narrow)
    discriminators = Discriminators(settings)
    before = {name: value.clone() for name, value in discriminators.state_dict().items()}
    assert discriminators.load_known(old.state_dict()) == ["stft_1024", "period_5"]
    for name, value in discriminators.state_dict().items():
        assert torch.equal(value, old.state_dict().get(name, before[name])), name
    wider = Discriminators(settings.model_copy(update={"stft_channels": 8}))
    assert wider.load_known(old.state_dict()) == ["stft_1024", "stft_256", "period_5"]


def test_the_codecs_step_leaves_the_discriminators_alone(
    speech_folder: Path, tmp_path: Path
) -> None:
    recipe = tiny(speech_folder, "discriminators.start_step=0", "discriminators.update_every=2")
    trainer = Trainer(recipe, tmp_path / "run")
    assert trainer.discriminators is not None

    def discriminators() -> list[torch.Tensor]:
        assert trainer.discriminators is not None
        return [value.clone() for value in trainer.discriminators.state_dict().values()]

    start = discriminators()
    trainer.train_step()  # step 0: their turn
    learned = discriminators()
    trainer.train_step()  # step 1: not their turn
    assert any(not torch.equal(a, b) for a, b in zip(start, learned, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(learned, discriminators(), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_steps_are_recorded_and_do_what_they_did(
    speech_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(speech_folder, "discriminators.start_step=0", "precision=tf32")
    replayed = Trainer(recipe, tmp_path / "a", "cuda")
    eager = Trainer(recipe, tmp_path / "b", "cuda")
    monkeypatch.setattr(eager, "_updater", lambda way: partial(eager._update, way))
    for _ in range(30):
        replayed.train_step()
        eager.train_step()
    assert all(replay.recorded for replay in replayed._graphs.values())
    for one, other in zip(weights(replayed), weights(eager), strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.01)


def test_a_step_with_a_gradient_that_is_not_finite_leaves_weights_and_moments() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)

    def state() -> list[torch.Tensor]:
        return [x.clone() for x in (weight.detach(), *optimizer.state[weight].values())]

    weight.grad = torch.ones(3)
    step_if(optimizer, torch.tensor(True))
    before = state()
    weight.grad = torch.tensor([1.0, torch.nan, 1.0])
    step_if(optimizer, torch.tensor(False))
    assert all(torch.equal(a, b) for a, b in zip(before, state(), strict=True))
    weight.grad = torch.ones(3)
    step_if(optimizer, torch.tensor(True))
    assert not torch.equal(before[0], weight)


def test_means_leave_out_what_is_not_finite_and_names_that_did_not_come() -> None:
    meter = MeanMeter()
    good, bad = torch.tensor(True), torch.tensor(False)
    meter.add({"a": torch.tensor(1.0), "b": torch.tensor(5.0)}, good)
    meter.add({"a": torch.tensor(torch.nan), "b": torch.tensor(7.0)}, bad)
    meter.add({"a": torch.tensor(2.0)}, good)
    assert meter.read() == {"a": 1.5, "b": 5.0}
    meter.add({"a": torch.tensor(4.0)}, good)
    assert meter.read() == {"a": 4.0}


def test_usage_counts_codes_of_fewer_stages_than_there_are() -> None:
    meter = UsageMeter((4, 8), torch.device("cpu"))
    meter.add(torch.tensor([[[0, 1, 1]]]), torch.tensor(True))
    meter.add(torch.tensor([[[2, 2, 2], [7, 7, 7]]]), torch.tensor(False))
    meter.add(torch.tensor([[[0, 3, 3], [5, 6, 6]]]), torch.tensor(True))
    usage, perplexity = meter.read()
    assert usage == [3 / 4, 2 / 8]
    assert perplexity[1] == pytest.approx(3 / 4 ** (1 / 3), rel=1e-4)  # of a third and two
    assert meter.read()[0] == [0, 0]


def test_a_state_of_before_averages_had_no_wrapper_is_read(
    speech_folder: Path, tmp_path: Path
) -> None:
    trainer = Trainer(tiny(speech_folder), tmp_path / "run")
    trainer.train_step()
    trainer.folder.mkdir(parents=True, exist_ok=True)
    trainer.save()
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    state["ema"] = {f"module.{name}": x for name, x in state["ema"].items()}
    state["ema"]["n_averaged"] = torch.tensor(1)
    torch.save(state, tmp_path / "run" / "state.pt")
    resumed = Trainer(tiny(speech_folder), tmp_path / "run", resume=True)
    for one, other in zip(weights(trainer), weights(resumed), strict=True):
        assert torch.equal(one, other)


def test_a_decoder_only_finish_keeps_every_token(speech_folder: Path, tmp_path: Path) -> None:
    finish = "schedule.decoder_only_step=10"
    trainer = Trainer(tiny(speech_folder, finish, "discriminators.start_step=0"), tmp_path / "run")
    for _ in range(10):
        trainer.train_step()
    before = {name: value.clone() for name, value in trainer.codec.state_dict().items()}
    audio = trainer.sampler.batch(0)
    codes = trainer.codec.encode(audio)
    for _ in range(3):
        trainer.train_step()
    for name, value in trainer.codec.state_dict().items():
        # The last layer's offset is never learnt.
        stands = name.startswith(("encoder.", "quantizer.", "decoder.last.conv.bias"))
        assert torch.equal(value, before[name]) == stands, name
    assert torch.equal(trainer.codec.encode(audio), codes)
    assert trainer.skipped == 0


def test_librispeech_recipe_runs_on_a_folder_of_its_layout(
    speech_folder: Path, tmp_path: Path
) -> None:
    for subset in ("train-clean-100", "train-clean-360", "train-other-500"):
        chapter = tmp_path / "LibriSpeech" / subset / "19" / "198"
        chapter.mkdir(parents=True)
        for index in range(2):
            audio, rate = soundfile.read(speech_folder / f"{index}.flac", dtype="int16")
            soundfile.write(chapter / f"19-198-000{index}.flac", audio, rate)
    recipe = Recipe.from_yaml(
        ROOT / "recipes" / "librispeech.yaml",
        [
            f"data.root={tmp_path}",
            "schedule.steps=20",
            "schedule.batch_size=1",
            "data.segment_seconds=0.2",
            "schedule.initialisation_steps=[2]",
            "schedule.initialisation_frames=30",
            "schedule.codebooks=[1, 2]",
            "codec.seanet.channels=[4, 8, 12, 16]",
            "schedule.validate_every=1000",
        ],
    )
    values = read_yaml(ROOT / "recipes" / "librispeech.yaml")
    assert values["data"]["librispeech"] == [
        "train-clean-100",
        "train-clean-360",
        "train-other-500",
    ]
    trainer = Trainer(recipe, tmp_path / "run")
    assert trainer.train() and trainer.step == 20


@pytest.mark.parametrize("state", ["garbage", [1, 2], {"codec": 3}])
def test_a_damaged_state_is_told_in_one_line(
    speech_folder: Path, tmp_path: Path, state: object
) -> None:
    if state == "garbage":
        (tmp_path / "state.pt").write_bytes(b"garbage" * 100)
    else:
        torch.save(state, tmp_path / "state.pt")
    with pytest.raises(CodecError, match=r"state\.pt: damaged, or of another recipe") as told:
        Trainer(tiny(speech_folder), tmp_path, resume=True)
    assert "\n" not in str(told.value)


def test_files_without_samples_are_nothing_to_train_on(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    with pytest.raises(CodecError, match=r"0\.00 s of audio in all"):
        Trainer(tiny(tmp_path), tmp_path / "run")
