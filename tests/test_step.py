"""One training step and its parts: discriminators, optimiser, clipping, meters."""

from functools import partial
from pathlib import Path

import pytest
import torch

from audiocodec.errors import CodecError
from audiocodec.quantization.residual import Quantized
from audiocodec.training import Recipe
from audiocodec.training.clipping import clip_to_usual
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.discriminators import DiscriminatorConfig, Discriminators
from audiocodec.training.initialisation import initialise_codebooks
from audiocodec.training.losses.loss import Loss
from audiocodec.training.losses.registry import LOSSES
from audiocodec.training.meters import MeanMeter, UsageMeter
from audiocodec.training.optim import step_if
from audiocodec.training.schedule import discriminators_in_use
from audiocodec.training.step import TrainingStep

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "recipes" / "tiny.yaml"


def tiny(*overrides: str) -> Recipe:
    """recipes/tiny.yaml, which trains on the bundled clips."""
    return Recipe.from_yaml(TINY, overrides)


def random_audio(samples: int = 5120) -> torch.Tensor:
    """A batch of the size that tiny.yaml has."""
    return 0.1 * torch.randn(4, 1, samples)


def test_a_step_trains_on_random_audio_without_files() -> None:
    recipe = tiny("schedule.initialisation_steps=[1]")
    training = TrainingStep(recipe)
    audio = random_audio()
    before = [value.clone() for value in training.codec.parameters()]
    numbers = training(audio, step=0)
    assert set(numbers) == {"loss", "loss/mel", "loss/stft", "loss/waveform", "gradient_norm"}
    assert all(value.ndim == 0 and value.isfinite() for value in numbers.values())
    changed = zip(before, training.codec.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in changed)
    initialise_codebooks(training, lambda number: Batch(audio, audio), step=1)
    assert "loss/quantizer" in training(audio, step=1)
    assert {"loss/adversarial", "loss/feature_matching"} <= set(training(audio, step=20))
    assert training.skips.read() == (0, 0)
    training(audio * torch.nan, step=21)
    assert training.skips.read() == (1, 1)


def test_a_step_uses_some_discriminators_and_all_are_used_in_turn() -> None:
    recipe = tiny(
        "discriminators.start_step=0",
        "discriminators.update_every=1",
        "discriminators.per_step=2",
        "discriminators.periods=[2, 3, 5]",
    )
    training = TrainingStep(recipe)
    discriminators = training.discriminators
    assert discriminators is not None and len(discriminators.networks) == 4
    names = discriminators.names
    assert set(discriminators_in_use(tiny(), 0, names)) == set(names)
    assert discriminators_in_use(recipe, 5, names) == discriminators_in_use(recipe, 5, names)
    assert set().union(*(discriminators_in_use(recipe, step, names) for step in range(40))) == set(
        names
    )
    before = {
        name: [p.clone() for p in discriminator.parameters()]
        for name, discriminator in discriminators.networks.items()
    }
    training(random_audio(), step=0)
    updated = {
        name
        for name, discriminator in discriminators.networks.items()
        if any(
            not torch.equal(a, b)
            for a, b in zip(before[name], discriminator.parameters(), strict=True)
        )
    }
    assert len(updated) == 2


def test_without_an_adversarial_loss_no_discriminator_is_used() -> None:
    recipe = tiny("discriminators.start_step=0", "losses.adversarial=0")
    assert recipe.losses.weight("feature_matching") > 0
    training = TrainingStep(recipe)
    before = [value.clone() for value in training.codec.state_dict().values()]
    assert "loss/feature_matching" not in training(random_audio(), step=0)
    assert training.skips.read() == (0, 0)
    after = training.codec.state_dict().values()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_codecs_losses_do_not_change_the_discriminators() -> None:
    training = TrainingStep(tiny("discriminators.start_step=0", "discriminators.update_every=2"))
    networks = training.discriminators
    assert networks is not None

    def discriminators() -> list[torch.Tensor]:
        return [value.clone() for value in networks.state_dict().values()]

    start = discriminators()
    training(random_audio(), step=0)  # with an update of the discriminators
    updated = discriminators()
    training(random_audio(), step=1)  # without
    assert any(not torch.equal(a, b) for a, b in zip(start, updated, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(updated, discriminators(), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_steps_are_recorded_and_equal_eager_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = tiny("discriminators.start_step=0", "precision=tf32")
    recorded, eager = (TrainingStep(recipe, "cuda") for _ in range(2))
    monkeypatch.setattr(eager, "_prepared", lambda variant: partial(eager.update, variant))
    batches = [0.1 * torch.randn(4, 1, 5120, device="cuda") for _ in range(30)]
    for training in (recorded, eager):
        for step, audio in enumerate(batches):
            if step in recipe.schedule.initialisation_steps:
                initialise_codebooks(training, lambda n: Batch(*[batches[n % 30]] * 2), step)
            training(audio, step)
    graphs = recorded.graphs.by_variant
    assert graphs and all(graph.recorded for graph in graphs.values())
    states = (training.codec.state_dict().values() for training in (recorded, eager))
    for one, other in zip(*states, strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.01)


@pytest.mark.parametrize(
    ("case", "step"),
    [
        (["discriminators.shared_pass=true"], 20),
        (["discriminators.per_step=1", "schedule.codebooks=[]"], 20),
        (["schedule.decoder_only_step=12", "schedule.initialisation_steps=[10]"], 21),
        ([], 0),  # before the codebooks are initialised
    ],
)
def test_the_gradient_of_unequal_parts_is_that_of_the_batch(case: list[str], step: int) -> None:
    audio = random_audio(2560) * torch.tensor([0.1, 1, 0.3, 0.03]).view(-1, 1, 1)
    found = []
    for parts in (1, 3):
        training = TrainingStep(tiny(*case, f"schedule.accumulate={parts}"))
        initialise_codebooks(training, lambda _: Batch(audio, audio), step=0, frames=200)
        assert training(audio, step)["loss"].isfinite()
        assert training.discriminators is not None
        assert not any(p.requires_grad for p in training.discriminators.parameters())
        networks = (training.codec, training.discriminators)
        found.append([p.grad for network in networks for p in network.parameters()])
    for whole, summed in zip(*found, strict=True):
        assert (whole is None) == (summed is None)
        if whole is not None and summed is not None:
            assert (whole - summed).abs().max() <= 1e-4 * whole.abs().max() + 1e-6


def test_parts_are_computed_in_bfloat16() -> None:
    training = TrainingStep(tiny("precision=bfloat16_trunk", "schedule.accumulate=3"))
    assert training(random_audio(2560), 20)["loss"].isfinite()
    assert training.skips.read() == (0, 0)


def test_a_loss_of_codes_and_audio_is_not_computed_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def both(quantized: Quantized, reference: torch.Tensor) -> torch.Tensor:
        return quantized.loss * reference.mean()

    monkeypatch.setitem(LOSSES, "quantizer", Loss(both, 1.0, ""))
    training = TrainingStep(tiny("schedule.accumulate=2"))
    with pytest.raises(CodecError, match=r"^losses\.quantizer: .* use schedule\.accumulate=1"):
        training(random_audio(), 20)


def test_known_discriminators_are_loaded_and_others_stay_random() -> None:
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


def test_a_gradient_that_is_not_finite_leaves_weights_and_moments() -> None:
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


def test_a_large_gradient_is_clipped_to_the_usual_norm_of_its_tensor() -> None:
    calm, wild, unused = (torch.nn.Parameter(torch.zeros(50)) for _ in range(3))
    optimizer = torch.optim.AdamW([calm, wild, unused], betas=(0.8, 0.99))

    def step(calm_size: float, wild_size: float) -> float:
        calm.grad, wild.grad = calm_size * torch.randn(50), wild_size * torch.randn(50)
        norm = float(clip_to_usual(optimizer, 2.0))
        optimizer.step()
        return norm

    assert step(1.0, 100.0) == pytest.approx(100 * 50**0.5, rel=0.3)  # no moments, no clipping
    assert calm.grad is not None and wild.grad is not None
    assert wild.grad.norm() > 500
    for _ in range(30):
        step(1.0, 100.0)
    usual = 100 * 50**0.5
    norm = step(1.0, 1e5)
    assert norm == pytest.approx(1000 * usual, rel=0.3)  # before clipping
    assert wild.grad.norm() == pytest.approx(2 * usual, rel=0.2)
    assert calm.grad.norm() == pytest.approx(50**0.5, rel=0.4)
    wild.grad, calm.grad = torch.full((50,), torch.nan), torch.zeros(50)
    assert not torch.isfinite(clip_to_usual(optimizer, 2.0))


def test_a_tensor_learns_after_a_first_gradient_of_zero() -> None:
    late = torch.nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.AdamW([late], lr=0.1)
    late.grad = torch.zeros(4)
    clip_to_usual(optimizer, 2.0)
    optimizer.step()
    late.grad = torch.ones(4)
    clip_to_usual(optimizer, 2.0)
    optimizer.step()
    assert (late < -0.01).all()


def test_means_leave_out_invalid_numbers_and_missing_names() -> None:
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
