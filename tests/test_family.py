"""What the members of the family promise beyond what all codebooks do, and what the search does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

from audiocodec import Codec, CodecConfig, CodecError, load_codec
from audiocodec.checkpoint import save_codec
from audiocodec.errors import NotFiniteError
from audiocodec.quantization.codebook import CodebookConfig, TableCodebook
from audiocodec.quantization.ema_vq import EMAVQCodebook, EMAVQConfig
from audiocodec.quantization.estimators import rotation_trick
from audiocodec.quantization.family import CODEBOOKS, build_codebook, codebook_config
from audiocodec.quantization.fsq import PUBLISHED_LEVELS, FSQCodebook, FSQConfig
from audiocodec.quantization.residual import ResidualQuantizer, ResidualQuantizerConfig
from audiocodec.quantization.search import InferenceTables
from audiocodec.quantization.simvq import SimVQCodebook, SimVQConfig
from audiocodec.quantization.vq import VQCodebook, VQConfig
from audiocodec.runtime import RuntimeCodec


class MirroredConfig(CodebookConfig):
    kind: Literal["mirrored"] = "mirrored"
    spread: float = 1.0


class Mirrored(TableCodebook):
    """A kind of codebook that the package does not have: half the entries mirror the others."""

    Config: ClassVar[type[CodebookConfig]] = MirroredConfig

    def __init__(self, config: MirroredConfig) -> None:
        super().__init__(config)
        self.upper = nn.Parameter(config.spread * torch.randn(self.size // 2, self.dim))

    def table(self) -> Tensor:
        return torch.cat([self.upper, -self.upper])


def test_a_new_kind_is_one_class_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CODEBOOKS, "mirrored", Mirrored)
    book = codebook_config({"kind": "mirrored", "size": 16, "dim": 4, "spread": 0.5})
    seanet = {"strides": (4, 5), "channels": (4, 8, 8), "residual_units": (0, 0, 0)}
    codec = Codec(
        CodecConfig.from_mapping(
            {
                "seanet": {**seanet, "latent_dim": 8},
                "quantizer": {"num_codebooks": 2, "codebook": book.model_dump()},
            },
            source="test",
        )
    )
    audio = torch.randn(1, 1, 1600) / 10
    output = codec(audio)
    (output.audio.square().mean() + output.quantized.loss).backward()
    for stage in codec.quantizer.stages:
        assert isinstance(stage.codebook, Mirrored)
        assert stage.codebook.upper.grad is not None and stage.codebook.upper.grad.any()
    save_codec(codec, tmp_path / "model")
    loaded = load_codec(tmp_path / "model")
    assert torch.equal(loaded.encode(audio), codec.eval().encode(audio))
    with pytest.raises(CodecError, match="spraed"):
        codebook_config({"kind": "mirrored", "spraed": 1})


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def make(stages: int = 3, **codebook: object) -> ResidualQuantizer:
    values = {"kind": "simvq", "size": 16, "dim": 4, **codebook}
    config = ResidualQuantizerConfig(num_codebooks=stages, codebook=codebook_config(values))
    quantizer = ResidualQuantizer(8, config)
    quantizer.initialise(torch.randn(400, 8), seeded())
    return quantizer


# Moving averages, and entries that come back.


def test_an_entry_is_the_moving_average_of_the_vectors_that_chose_it() -> None:
    codebook = EMAVQCodebook(EMAVQConfig(size=2, dim=1, decay=0.75, reset_threshold=0))
    codebook.entries.copy_(torch.tensor([[0.0], [10.0]]))
    codebook.update_online(torch.tensor([[1.0], [2.0], [3.0], [9.0]]), torch.tensor([0, 0, 0, 1]))
    # Counts are shares of even use: 3 of 4 vectors are 1.5 of it, 1 of 4 is .5.
    torch.testing.assert_close(codebook.usage.counts, torch.tensor([1.125, 0.875]))
    first = (0.75 * 0 + 0.25 * 1.5 * 2) / 1.125
    second = (0.75 * 10 + 0.25 * 0.5 * 9) / 0.875
    torch.testing.assert_close(codebook.entries, torch.tensor([[first], [second]]))


def test_an_entry_that_is_not_chosen_stays_exactly_where_it_is() -> None:
    codebook = EMAVQCodebook(EMAVQConfig(size=8, dim=3, reset_threshold=0))
    before = codebook.entries.clone()
    codebook.update_online(torch.randn(20, 3), torch.randint(4, (20,)))
    assert torch.equal(codebook.entries[4:], before[4:])
    assert (codebook.entries[:4] != before[:4]).all()


@pytest.mark.parametrize(
    "settings",
    [{"kind": "ema_vq"}, {"kind": "simvq", "reset_threshold": 0.02, "learn": "transform"}],
)
def test_a_dead_entry_is_alive_after_the_step(settings: dict[str, object]) -> None:
    quantizer = make(1, dim=8, **settings)
    codebook = quantizer.stages[0].codebook
    latents = torch.randn(1, 8, 100)
    with torch.no_grad():
        table = codebook.entries if isinstance(codebook, EMAVQCodebook) else codebook.frozen
        table[3], table[7] = 1e3, -1e3  # nobody's nearest
        codebook.usage.counts[[3, 7]] = 0.001
    dead = torch.tensor([3, 7])
    assert not torch.isin(dead, quantizer.encode(latents)).any()
    quantizer(latents).loss.backward()
    assert torch.isin(dead, quantizer.encode(latents)).all()
    placed = quantizer.decode(dead.view(1, 1, 2))[0].T
    apart = (placed.unsqueeze(1) - latents[0].T).norm(dim=-1)
    assert apart.min(dim=1).values.max() < 1e-4
    for _ in range(20):
        quantizer(latents)
    assert torch.isin(dead, quantizer.encode(latents)).all()


def test_statistics_move_in_training_only() -> None:
    quantizer = make(2, kind="ema_vq")
    latents, before = torch.randn(2, 8, 50), [v.clone() for v in quantizer.state_dict().values()]

    def changed() -> bool:
        return any(
            not torch.equal(a, b)
            for a, b in zip(before, quantizer.state_dict().values(), strict=True)
        )

    with torch.no_grad():
        quantizer(latents)
    quantizer.encode(latents)
    quantizer.eval()(latents)
    assert not changed()
    quantizer.train()(latents)
    assert changed()


def test_statistics_come_from_the_items_that_use_the_stage() -> None:
    one, other = make(2, kind="ema_vq"), make(2, kind="ema_vq")
    other.load_state_dict(one.state_dict())
    latents = torch.randn(2, 8, 50)
    one(latents, torch.tensor([2, 1]))
    other(latents[:1], 2)
    states = one.state_dict(), other.state_dict()
    second = "stages.1.codebook.entries"
    torch.testing.assert_close(states[0][second], states[1][second])
    first = "stages.0.codebook.entries"
    assert not torch.allclose(states[0][first], states[1][first])


@pytest.mark.parametrize("kind", ["ema_vq", "simvq"])
def test_a_resumed_codebook_goes_on_as_one_that_never_stopped(kind: str) -> None:
    """All of the state is in `state_dict`, the draw of rebirths too."""
    quantizer = make(2, kind=kind, reset_threshold=0.9)
    batches = [torch.randn(1, 8, 40) for _ in range(6)]
    for batch in batches[:3]:
        quantizer(batch)
    torch.manual_seed(99)
    resumed = make(2, kind=kind, reset_threshold=0.9)
    resumed.load_state_dict(quantizer.state_dict())
    for batch in batches[3:]:
        quantizer(batch)
        resumed(batch)
    for value, other in zip(
        quantizer.state_dict().values(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other)


# SimVQ's maps.


def test_an_orthogonal_map_keeps_distances_while_it_learns() -> None:
    codebook = SimVQCodebook(
        SimVQConfig(size=16, dim=4, transform="orthogonal", initialisation="random")
    )
    optimizer = torch.optim.Adam(codebook.parameters(), 0.05)
    before = codebook.table().detach()
    for _ in range(10):
        vectors = torch.randn(64, 4)
        optimizer.zero_grad()
        codebook.loss(vectors, codebook.lookup(codebook.nearest(vectors))).backward()
        optimizer.step()
    after = codebook.table().detach()
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(torch.cdist(after, after), torch.cdist(before, before))


@pytest.mark.parametrize("init", ["gaussian", "uniform"])
def test_frozen_tables_are_drawn_with_the_same_spread(init: str) -> None:
    codebook = SimVQCodebook(SimVQConfig(size=4096, dim=9, distribution=init))
    assert codebook.frozen.std().item() == pytest.approx(1 / 3, rel=0.03)


def test_a_default_simvq_stores_what_it_always_stored() -> None:
    names = set(build_codebook(codebook_config({"kind": "simvq"})).state_dict())
    assert names == {"frozen", "transform", "bias"}


# The grid.


@pytest.mark.parametrize("bound", ["clamp", "tanh"])
@pytest.mark.parametrize("levels", [(8, 6, 5), (3, 4), (7, 5, 5, 5, 5)])
def test_a_code_stands_for_the_bounded_and_rounded_vector(
    levels: tuple[int, ...], bound: str
) -> None:
    codebook = FSQCodebook(FSQConfig(levels=levels, bound=bound, initialisation="published"))
    vectors = 2 * torch.randn(500, len(levels))
    rounded = codebook.lookup(codebook.nearest(vectors)).detach()
    for column, count in enumerate(levels):
        values = vectors[:, column]
        below, above = count // 2, count - 1 - count // 2
        if bound == "clamp":
            expected = (values * below).round().clamp(-below, above) / below
        else:
            half = (count - 1) * 1.001 / 2
            even = 0.5 if count % 2 == 0 else 0.0
            shift = math.atanh(even / half)
            expected = ((values + shift).tanh() * half - even).round() / below
        torch.testing.assert_close(rounded[:, column], expected, rtol=0, atol=1e-6)


def test_every_code_of_a_grid_is_another_entry() -> None:
    for size, levels in PUBLISHED_LEVELS.items():
        config = codebook_config({"kind": "fsq", "size": size})
        assert (config.size, config.dim) == (size, len(levels))
        codebook = build_codebook(config)
        entries = codebook.lookup(torch.arange(size))
        assert len(entries.unique(dim=0)) == size
        assert torch.equal(codebook.nearest(entries), torch.arange(size))


def test_a_grid_moves_to_its_data() -> None:
    vectors = torch.randn(2000, 3) * torch.tensor([1.0, 5.0, 0.2]) + torch.tensor([0.0, 9.0, -1.0])
    codebook = FSQCodebook(FSQConfig(levels=(8, 6, 5)))
    codebook.initialise(vectors, seeded())
    left = (codebook.lookup(codebook.nearest(vectors)) - vectors).square().mean(0) / vectors.var(0)
    # Max 1960, table I: a uniform quantiser of a Gaussian leaves .0374 at 8 levels, .0799 at 5.
    assert left[0].item() == pytest.approx(0.0374, rel=0.1)
    assert left[2].item() == pytest.approx(0.082, rel=0.1)
    assert len(codebook.nearest(vectors).unique()) > 200


def test_the_settings_of_a_grid_survive_being_written_and_read() -> None:
    config = ResidualQuantizerConfig(codebook=codebook_config({"kind": "fsq", "levels": [8, 4]}))
    values = config.model_dump(mode="json")
    assert ResidualQuantizerConfig.from_mapping(values) == config


# Gradients.


def test_the_rotation_trick_is_the_gradient_of_a_rotation_and_a_stretch() -> None:
    latents = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    quantized = torch.randn(2, 5, 3, dtype=torch.float64)
    weights = torch.randn(2, 5, 3, dtype=torch.float64)
    out = rotation_trick(latents, quantized)
    assert torch.equal(out, quantized)
    (out * weights).sum().backward()
    assert latents.grad is not None
    e, q, g = latents.detach()[0, :, 0], quantized[0, :, 0], weights[0, :, 0]
    start, end = e / e.norm(), q / q.norm()
    middle = (start + end) / (start + end).norm()
    rotation = torch.eye(5).double() - 2 * middle.outer(middle) + 2 * end.outer(start)
    stretch = q.norm() / e.norm()
    torch.testing.assert_close(stretch * rotation @ e, q)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(5).double())
    torch.testing.assert_close(latents.grad[0, :, 0], stretch * rotation.T @ g)


def test_the_rotation_trick_falls_back_where_there_is_no_rotation() -> None:
    latents, quantized = torch.randn(1, 4, 4), torch.randn(1, 4, 4)
    latents[..., 0] = 0
    quantized[..., 1] = 0
    quantized[..., 2] = -latents[..., 2]
    latents.requires_grad_()
    rotation_trick(latents, quantized).sum().backward()
    assert latents.grad is not None
    assert torch.equal(latents.grad[..., 0], torch.ones(1, 4))
    assert latents.grad.isfinite().all()


# Search.


@pytest.mark.parametrize("kind", ["simvq", "vq", "ema_vq", "fsq"])
def test_a_wider_search_leaves_less(kind: str) -> None:
    settings: dict[str, object] = (
        {"levels": [4, 3, 3], "size": 36, "dim": 3} if kind == "fsq" else {}
    )
    quantizer = make(4, kind=kind, **settings).eval()
    tables = InferenceTables(quantizer)
    latents = torch.randn(3, 8, 60)

    def distortion(beam: int) -> float:
        codes = tables.encode(latents, beam=beam)
        assert codes.shape == (3, 4, 60)
        return (tables.decode(codes) - latents).square().mean().item()

    assert torch.equal(tables.encode(latents, beam=1), quantizer.encode(latents))
    greedy, wide, wider = distortion(1), distortion(4), distortion(16)
    assert wider < wide < greedy


def test_a_search_of_all_paths_finds_the_best() -> None:
    tables = InferenceTables(make(2))
    latents = torch.randn(1, 8, 20)
    codes = torch.cartesian_prod(torch.arange(16), torch.arange(16)).T.unsqueeze(0)
    sums = tables.decode(codes)[0].T
    best = torch.cdist(latents[0].T.double(), sums.double()).argmin(dim=1)
    assert torch.equal(tables.encode(latents, beam=256)[0], codes[0][:, best])


def test_a_search_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = InferenceTables(make(3))
    latents = torch.randn(2, 8, 30)
    whole = tables.encode(latents, 2, beam=3)
    monkeypatch.setattr("audiocodec.quantization.nearest.SEARCH_ELEMENTS", 1000)
    assert torch.equal(tables.encode(latents, 2, beam=3), whole)
    assert tables.encode(latents[..., :0], beam=3).shape == (2, 3, 0)


def test_a_codec_searches_with_the_beam_it_gets(codec: RuntimeCodec, speech: Tensor) -> None:
    audio = speech[..., :8000]
    assert torch.equal(codec.encode(audio, beam=1), codec.encode(audio))
    assert codec.encode(audio, 2, beam=4).shape == (1, 2, 25)
    with pytest.raises(CodecError, match="beam: 1 or more, not 0"):
        codec.encode(audio, beam=0)


# Bad input.


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("beam", [1, 2])
def test_latents_that_are_not_finite_are_refused(bad: float, beam: int) -> None:
    quantizer = make(3)
    latents = torch.randn(1, 8, 10)
    latents[0, 2, 3] = bad
    with pytest.raises(NotFiniteError, match="stage 1 of 3: the latents"):
        InferenceTables(quantizer).encode(latents, beam=beam)
    with pytest.raises(NotFiniteError, match="stage 1 of 3: the latents"):
        quantizer.encode(latents)
    with pytest.raises(CodecError, match="stage 1 of 3: the latents"):
        quantizer(latents)


@pytest.mark.parametrize("stage", [1, 3])
def test_a_stage_that_gives_no_finite_numbers_is_named(stage: int) -> None:
    quantizer = make(3)
    with torch.no_grad():
        quantizer.stages[stage - 1].codebook.bias.fill_(math.nan)
    with pytest.raises(NotFiniteError, match=f"stage {stage} of 3: its output"):
        quantizer.encode(torch.randn(1, 8, 10))
    with pytest.raises(NotFiniteError, match=f"stage {stage} of 3: its entries"):
        InferenceTables(quantizer)


def test_models_from_before_there_was_a_choice_still_load() -> None:
    old = {
        "quantizer": {
            "num_codebooks": 2,
            "codebook": {
                "kind": "simvq",
                "size": 1024,
                "dim": 12,
                "commitment_weight": 0.25,
                "codebook_weight": 1.0,
                "learn": "transform",
                "transform": "full",
                "initialisation": "kmeans",
            },
        }
    }
    assert CodecConfig.from_mapping(old).quantizer.estimator == "straight_through"


# Peers as oracles: https://github.com/lucidrains/vector-quantize-pytorch.


def test_vq_agrees_with_a_peer() -> None:
    peers = pytest.importorskip("vector_quantize_pytorch")
    ours = VQCodebook(VQConfig(size=64, dim=5))
    theirs = peers.VectorQuantize(dim=5, codebook_size=64, commitment_weight=0.25).eval()
    theirs._codebook.embed.data.copy_(ours.entries.detach().unsqueeze(0))
    vectors = torch.randn(200, 5)
    quantized, codes, _ = theirs(vectors.unsqueeze(0))
    assert torch.equal(ours.nearest(vectors), codes[0])
    torch.testing.assert_close(ours.lookup(codes[0]), quantized[0])


def test_simvq_agrees_with_a_peer() -> None:
    peers = pytest.importorskip("vector_quantize_pytorch")
    ours = SimVQCodebook(SimVQConfig(size=64, dim=5, initialisation="random"))
    theirs = peers.SimVQ(dim=5, codebook_size=64, rotation_trick=False)
    with torch.no_grad():
        ours.transform.copy_(torch.randn(5, 5))
        theirs.frozen_codebook.copy_(ours.frozen)
        theirs.code_transform.weight.copy_(ours.transform.T)
    vectors = torch.randn(200, 5)
    quantized, codes, loss = theirs(vectors.unsqueeze(0))
    assert torch.equal(ours.nearest(vectors), codes[0])
    entries = ours.lookup(codes[0])
    torch.testing.assert_close(entries, quantized[0])
    torch.testing.assert_close(ours.loss(vectors, entries), loss)
    loss.backward()
    ours.loss(vectors, entries).backward()
    torch.testing.assert_close(ours.transform.grad, theirs.code_transform.weight.grad.T)


@pytest.mark.parametrize("levels", [(8, 6, 5), (8, 5, 5, 5), (3, 7)])
def test_fsq_agrees_with_a_peer(levels: tuple[int, ...]) -> None:
    peers = pytest.importorskip("vector_quantize_pytorch")
    ours = FSQCodebook(FSQConfig(levels=levels, bound="tanh", initialisation="published"))
    vectors = 2 * torch.randn(300, len(levels))
    quantized, codes = peers.FSQ(list(levels))(vectors.unsqueeze(0))
    assert torch.equal(ours.nearest(vectors), codes[0].long())
    torch.testing.assert_close(ours.lookup(codes[0].long()), quantized[0])


def test_the_rotation_trick_agrees_with_a_peer() -> None:
    pytest.importorskip("vector_quantize_pytorch")
    from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

    latents, quantized, weights = torch.randn(3, 1, 6, 4).unbind()
    gradients = []
    for estimate in (rotation_trick, lambda z, q: rotate_to(z.mT, q.mT).mT):
        inputs = latents.clone().requires_grad_()
        (estimate(inputs, quantized) * weights).sum().backward()
        gradients.append(inputs.grad)
    torch.testing.assert_close(*gradients)


def test_a_peers_residual_stack_multiplies_the_gradient_and_ours_does_not() -> None:
    """Where they differ: theirs estimates at every stage, so that K stages pass K gradients."""
    peers = pytest.importorskip("vector_quantize_pytorch")
    theirs = peers.ResidualSimVQ(dim=8, num_quantizers=5, codebook_size=16, rotation_trick=False)
    gradients = []
    for quantize in (lambda z: theirs(z.mT)[0].mT, lambda z: make(5)(z).latents):
        latents = torch.randn(1, 8, 10, requires_grad=True)
        quantize(latents).sum().backward()
        gradients.append(latents.grad)
    torch.testing.assert_close(gradients[0], torch.full((1, 8, 10), 5.0))
    torch.testing.assert_close(gradients[1], torch.ones(1, 8, 10))
