"""Recipes and runs: checked first, resumed exactly, saved whole, rolled back."""

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiocodec import CodecError, load_codec
from audiocodec.checkpoint import load_trainable
from audiocodec.config import read_yaml
from audiocodec.training import Recipe, Trainer
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.data.cache import AudioCache
from audiocodec.training.data.decoded import DecodedAudio
from audiocodec.training.data.files import DataConfig
from audiocodec.training.data.segments import SegmentSampler
from audiocodec.training.discriminators import Discriminators
from audiocodec.training.initialisation import initialise_codebooks
from audiocodec.training.monitor import Monitor
from audiocodec.training.schedule import is_quantizing
from audiocodec.training.step import TrainingStep
from audiocodec.training.validation import SCORES, Clips, ValidationSet

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
    return Recipe.from_yaml(TINY, [f"data.root={speech_folder}", *overrides])


def weights(trainer: Trainer) -> list[torch.Tensor]:
    step = trainer.training_step
    return [*step.codec.state_dict().values(), *step.average.codec.state_dict().values()]


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


def test_a_recipe_may_be_the_differences_from_another(tmp_path: Path) -> None:
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
def test_a_base_that_is_not_a_recipe_is_refused(tmp_path: Path, text: str, words: str) -> None:
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
        ("schedule.decoder_only_step=3", "set it later than that"),
        ("name.first=x", "plain value"),
    ],
)
def test_an_invalid_recipe_is_refused_in_one_line(override: str, words: str) -> None:
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
    for _ in range(24):  # past the first initialisation and the discriminators' first step
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
    for name, value in trainer.training_step.average.codec.state_dict().items():
        assert torch.equal(tuned.training_step.codec.state_dict()[name], value)
    old, new = trainer.training_step.discriminators, tuned.training_step.discriminators
    assert old is not None and new is not None
    for name, value in old.state_dict().items():
        assert torch.equal(new.state_dict()[name], value)
    stages = tuned.training_step.codec.quantizer.stages
    before = torch.cat([stage.codebook.frozen for stage in stages])
    tuned.train()
    after = torch.cat([stage.codebook.frozen for stage in stages])
    assert torch.equal(before, after)


def test_a_folder_without_a_run_cannot_be_resumed(speech_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="no run to resume"):
        Trainer(tiny(speech_folder), tmp_path / "none", resume=True)


def test_a_run_from_a_model_quantises_from_the_first_step(
    speech_folder: Path, tmp_path: Path
) -> None:
    fresh = tiny(speech_folder, "schedule.initialisation_steps=[5]")
    continued = fresh.model_copy(update={"init_from": "speech_16khz"})
    assert [is_quantizing(fresh, step) for step in (0, 4, 5)] == [False, False, True]
    assert all(is_quantizing(continued, step) for step in (0, 4, 5))


def test_init_from_another_architecture_names_the_difference(
    speech_folder: Path, tmp_path: Path
) -> None:
    other = Trainer(tiny(speech_folder, "codec.seanet.latent_dim=24"), tmp_path / "a")
    other.folder.mkdir(parents=True, exist_ok=True)
    other.save()
    with pytest.raises(CodecError, match="another architecture: `"):
        Trainer(tiny(speech_folder, f"init_from={tmp_path / 'a' / 'model'}"), tmp_path / "b")


def test_a_smaller_model_is_grown(
    model: str, speech_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    larger = (
        f"init_from={model}",
        "schedule.initialisation_steps=[]",
        "codec.seanet.decoder_residual_units=[1, 1, 1, 3]",
        "codec.seanet.attention={encoder_blocks: 1, heads: 2}",
    )
    codec = Trainer(tiny(speech_folder, *larger), tmp_path / "a").training_step.codec.eval()
    assert "is grown" in capsys.readouterr().err
    audio = 0.1 * torch.randn(1, 1, 3200)
    small = load_trainable(model).eval()
    assert torch.equal(codec.encode(audio), small.encode(audio))
    expected = small(audio).audio
    assert 0 < (codec(audio).audio - expected).norm() < 0.01 * expected.norm()


def test_codebooks_initialised_at_step_0_may_differ_from_those_of_init_from(
    speech_folder: Path, tmp_path: Path
) -> None:
    first = Trainer(tiny(speech_folder), tmp_path / "a")
    first.folder.mkdir(parents=True, exist_ok=True)
    first.save()
    overrides = [f"init_from={tmp_path / 'a' / 'model'}", "codec.quantizer.dims=[8, 4]"]
    with pytest.raises(CodecError, match=r"`quantizer\.stages\.0"):
        Trainer(tiny(speech_folder, *overrides), tmp_path / "b")
    changed = tiny(speech_folder, *overrides, "schedule.initialisation_steps=[0]")
    second = Trainer(changed, tmp_path / "c")
    for part in ("encoder", "decoder"):
        expected = getattr(first.training_step.codec, part).state_dict()
        for name, value in getattr(second.training_step.codec, part).state_dict().items():
            assert torch.equal(value, expected[name])
    assert second.training_step.codec.quantizer.stages[0].codebook.dim == 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_a_whole_checkpoint(
    number: signal.Signals, speech_folder: Path, tmp_path: Path
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored here, as nohup has it")
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
    monkeypatch.setattr("audiocodec.training.trainer.MAX_SKIPPED_IN_A_ROW", 3)
    broken = {8, 25, 26, 27}

    def batch(number: int, step: int) -> Batch:
        audio = whole(number, step).audio * (float("nan") if number in broken else 1)
        return Batch(audio, audio)

    monkeypatch.setattr(trainer.sampler, "batch", batch)
    assert trainer.train()
    assert trainer.skipped == 4
    assert all(bool(torch.isfinite(value).all()) for value in weights(trainer))
    notes = [json.loads(line).get("note", "") for line in (tmp_path / "run/log.jsonl").open()]
    assert any("rolled back" in note for note in notes)


def test_a_collapse_of_codebooks_is_warned_of(
    speech_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = Trainer(tiny(speech_folder, "schedule.steps=20"), tmp_path / "run")

    def collapse(
        training: TrainingStep, batch: Callable[[int], Batch], step: int, frames: int
    ) -> None:
        initialise_codebooks(training, batch, step, frames)
        for stage in training.codec.quantizer.stages:
            stage.codebook.frozen.mul_(1e-3).add_(100)
            stage.codebook.frozen[0] = 0

    monkeypatch.setattr("audiocodec.training.initialisation.initialise_codebooks", collapse)
    trainer.train()
    assert "collapse" in capsys.readouterr().err


def test_batches_depend_on_seed_and_step_alone(speech_folder: Path, tmp_path: Path) -> None:
    files = sorted(speech_folder.iterdir())
    cache = AudioCache(files, 16000, tmp_path)
    assert cache.num_samples == 6 * 16000
    config = DataConfig(root=str(speech_folder), segment_seconds=0.5)
    audio = DecodedAudio([cache.samples], config, 16000, torch.device("cpu"))
    one, other = (SegmentSampler(audio, config, 16000, 4, seed) for seed in (0, 1))
    first = one.batch(7).audio
    one.batch(8)
    assert torch.equal(one.batch(7).audio, first)
    assert not torch.equal(other.batch(7).audio, first)
    assert first.shape == (4, 1, 8000)
    assert first.abs().max() <= 1


def test_silent_segments_are_not_used(tmp_path: Path) -> None:
    loud = 0.3 * np.sin(np.arange(4000) / 5)
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.zeros(12000), loud]), 16000)
    cache = AudioCache([tmp_path / "a.wav"], 16000, tmp_path / "cache")
    config = DataConfig(root=str(tmp_path), segment_seconds=0.1, gain_db=(0, 0))
    audio = DecodedAudio([cache.samples], config, 16000, torch.device("cpu"))
    sampler = SegmentSampler(audio, config, 16000, 32, 0)
    assert (sampler.batch(0).audio.square().mean(dim=(1, 2)).sqrt() > 10 ** (-50 / 20)).all()


def test_an_unchanged_corpus_is_decoded_once(
    speech_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(speech_folder.iterdir())
    AudioCache(files, 16000, tmp_path)
    monkeypatch.setattr("audiocodec.training.data.cache._decode_all", None)
    AudioCache(files, 16000, tmp_path)


def test_too_little_audio_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
    with pytest.raises(CodecError, match="less than one segment"):
        Trainer(tiny(tmp_path), tmp_path / "run")


def test_training_the_decoder_only_keeps_every_token(speech_folder: Path, tmp_path: Path) -> None:
    finish = "schedule.decoder_only_step=10"
    trainer = Trainer(tiny(speech_folder, finish, "discriminators.start_step=0"), tmp_path / "run")
    codec = trainer.training_step.codec
    for _ in range(10):
        trainer.train_step()
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    audio = trainer.sampler.batch(0).audio
    codes = codec.encode(audio)
    for _ in range(3):
        trainer.train_step()
    for name, value in codec.state_dict().items():
        # The last layer's bias is never trained.
        frozen = name.startswith(("encoder.", "quantizer.", "decoder.last.conv.bias"))
        assert torch.equal(value, before[name]) == frozen, name
    assert torch.equal(codec.encode(audio), codes)
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
    assert values["data"]["corpora"] == [
        "librispeech/train-clean-100",
        "librispeech/train-clean-360",
        "librispeech/train-other-500",
    ]
    trainer = Trainer(recipe, tmp_path / "run")
    assert trainer.train() and trainer.step == 20


@pytest.mark.parametrize("state", ["garbage", [1, 2], {"codec": 3}])
def test_a_damaged_state_is_refused_in_one_line(
    speech_folder: Path, tmp_path: Path, state: object
) -> None:
    if state == "garbage":
        (tmp_path / "state.pt").write_bytes(b"garbage" * 100)
    else:
        torch.save(state, tmp_path / "state.pt")
    with pytest.raises(CodecError, match=r"state\.pt: damaged, or of another recipe") as caught:
        Trainer(tiny(speech_folder), tmp_path, resume=True)
    assert "\n" not in str(caught.value)


def test_files_without_samples_are_nothing_to_train_on(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    with pytest.raises(CodecError, match=r"0\.00 s of audio in all"):
        Trainer(tiny(tmp_path), tmp_path / "run")


def test_a_validation_score_is_one_function_and_one_registration(
    speech_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def peak(clips: Clips) -> float:
        return float(clips.reconstruction.abs().max())

    monkeypatch.setitem(SCORES, "peak", peak)
    recipe = tiny(speech_folder)
    validation = ValidationSet([speech_folder / "0.flac"], 16000, recipe.losses)
    numbers, *_ = validation.run(TrainingStep(recipe).codec)
    assert {"validation/peak_1", "validation/peak_4", "validation/mel_4"} <= set(numbers)


@pytest.mark.pictures
def test_a_validation_is_drawn_as_codec_plot_draws_and_at_most_once_a_minute(
    speech_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = tiny(speech_folder)
    validation = ValidationSet([speech_folder / "0.flac"], 16000, recipe.losses)
    codec = TrainingStep(recipe).codec
    _, clips, coding = validation.run(codec)
    assert coding is not None
    frames = -(-len(clips["reference"]) // codec.hop_length)
    assert coding.codes.shape == (codec.num_codebooks, frames)
    assert coding.errors is not None
    monitor = Monitor(tmp_path, 0)
    for step in (1, 2):
        monitor.audio(step, clips, 16000, coding)
    monitor.close()
    board = EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0, "audio": 0}).Reload()
    assert {tag: len(board.Images(tag)) for tag in board.Tags()["images"]} == {
        "spectrograms": 1,
        "coding": 1,
    }
    assert {len(board.Audio(tag)) for tag in board.Tags()["audio"]} == {2}
