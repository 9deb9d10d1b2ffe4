"""What the quantisers promise: right neighbours, right gradients, tables that live."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audiocodec.errors import CodecError
from audiocodec.quantization.codebook import CodebookConfig, TableCodebook
from audiocodec.quantization.estimators import ESTIMATORS, straight_through
from audiocodec.quantization.family import CODEBOOKS, build_codebook, codebook_config
from audiocodec.quantization.kmeans import kmeans
from audiocodec.quantization.nearest import least_few_of_rows, nearest_entries
from audiocodec.quantization.residual import ResidualQuantizer, ResidualQuantizerConfig
from audiocodec.quantization.search import InferenceTables
from audiocodec.quantization.simvq import SimVQCodebook, SimVQConfig

KINDS: list[dict[str, object]] = [
    {"kind": "vq"},
    {"kind": "vq", "initialisation": "random"},
    {"kind": "simvq"},
    {"kind": "simvq", "initialisation": "random"},
    {"kind": "simvq", "initialisation": "whitened"},
    {"kind": "simvq", "transform": "diagonal"},
    {"kind": "simvq", "transform": "diagonal", "initialisation": "whitened"},
    {"kind": "simvq", "learn": "codebook_and_transform"},
    {"kind": "simvq", "transform": "orthogonal"},
    {"kind": "simvq", "transform": "orthogonal", "initialisation": "whitened"},
    {"kind": "simvq", "initialisation": "random", "distribution": "uniform"},
    {"kind": "simvq", "reset_threshold": 0.02},
    {"kind": "ema_vq"},
    {"kind": "ema_vq", "initialisation": "random", "reset_threshold": 0.0},
    {"kind": "fsq", "size": 81, "levels": [3, 3, 3, 3]},
    {"kind": "fsq", "size": 240, "levels": [3, 4, 4, 5], "initialisation": "published"},
]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def make(
    stages: int = 3,
    latent_dim: int = 8,
    estimator: str = "straight_through",
    **codebook: object,
) -> ResidualQuantizer:
    values = {"kind": "simvq", "size": 16, "dim": 4, **codebook}
    config = ResidualQuantizerConfig(
        num_codebooks=stages, codebook=codebook_config(values), estimator=estimator
    )
    quantizer = ResidualQuantizer(latent_dim, config)
    quantizer.initialise(torch.randn(400, latent_dim), seeded())
    return quantizer


@pytest.mark.parametrize("elements", [1, 64_000])
@pytest.mark.parametrize("size", [2, 64, 128, 129, 300, 4096])
def test_search_finds_the_nearest(
    size: int, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces and blocks of any size, whatever is left over of the last one."""
    monkeypatch.setattr("audiocodec.quantization.nearest.SEARCH_ELEMENTS", elements)
    vectors, table = torch.randn(100, 5).double(), torch.randn(size, 5).double()
    distances = torch.cdist(vectors, table, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.sort(dim=1, stable=True).indices
    assert torch.equal(nearest_entries(vectors, table), nearest[:, 0])


def test_of_equally_near_entries_the_first_wins() -> None:
    """Within a block of the search, and from block to block."""
    table = torch.randint(-1, 2, (1000, 3)).float()
    vectors = torch.randint(-2, 3, (200, 3)).float()
    codes = nearest_entries(vectors, table)
    distances = torch.cdist(vectors, table, compute_mode="donot_use_mm_for_euclid_dist")
    ties = distances == distances.amin(dim=1, keepdim=True)
    assert (ties.sum(dim=1) > 10).all()
    assert torch.equal(codes, ties.float().argmax(dim=1))


def test_vectors_that_are_not_numbers_still_get_a_code_of_the_table() -> None:
    vectors = torch.full((4, 3), torch.nan)
    vectors[1:3] = torch.tensor([[torch.inf], [-torch.inf]])
    codes = nearest_entries(vectors, torch.randn(200, 3))
    assert ((codes >= 0) & (codes < 200)).all()


def test_search_of_a_huge_table_fits_in_memory() -> None:
    table = torch.randn(262_144, 4)
    wanted = torch.randint(262_144, (200,))
    assert torch.equal(nearest_entries(table[wanted], table), wanted)


def test_search_never_falls_below_float32() -> None:
    table = torch.tensor([[1.0], [1.001]])
    with torch.autocast("cpu", torch.bfloat16):
        codes = nearest_entries(torch.tensor([[1.0011], [0.9999]]), table)
    assert codes.tolist() == [1, 0]


def test_search_of_nothing() -> None:
    assert nearest_entries(torch.zeros(0, 3), torch.randn(4, 3)).shape == (0,)


@pytest.mark.parametrize("settings", KINDS)
def test_every_kind_finds_itself_after_a_start(settings: dict[str, object]) -> None:
    codebook = build_codebook(codebook_config({"size": 16, "dim": 4, **settings}))
    codebook.initialise(3 + torch.randn(500, 4), seeded())
    codes = torch.arange(codebook.size)
    assert torch.equal(codebook.nearest(codebook.lookup(codes)), codes)
    frozen = codebook.freeze()
    vectors = 3 + 2 * torch.randn(500, 4)
    assert torch.equal(frozen.entries, codebook.lookup(codes))
    assert torch.equal(frozen.nearest(vectors), codebook.nearest(vectors))
    assert not frozen.entries.requires_grad


@pytest.mark.parametrize("settings", KINDS)
def test_every_kind_learns(settings: dict[str, object]) -> None:
    codebook = build_codebook(codebook_config({"size": 32, "dim": 4, **settings}))
    vectors = 2 * torch.randn(600, 4)
    codebook.initialise(vectors, seeded())
    vectors = 1.3 * vectors + 0.3  # data move on, the codebook follows
    nothing = nn.Parameter(torch.zeros(()))  # a codebook may have no parameters
    optimizer = torch.optim.Adam([*codebook.parameters(), nothing], 0.01)

    def distortion() -> Tensor:
        return (codebook.lookup(codebook.nearest(vectors)) - vectors).square().mean()

    before = distortion().item()
    for _ in range(60):
        optimizer.zero_grad()
        codes = codebook.nearest(vectors)
        (codebook.loss(vectors, codebook.lookup(codes)) + nothing).backward()
        codebook.update_online(vectors, codes)
        optimizer.step()
    assert distortion().item() < before


def test_whitened_start_takes_over_mean_and_covariance() -> None:
    mixing = torch.randn(3, 3)
    vectors = torch.randn(5000, 3) @ mixing + torch.tensor([5.0, -1.0, 0.0])
    codebook = SimVQCodebook(SimVQConfig(size=20_000, dim=3, initialisation="whitened"))
    codebook.initialise(vectors, seeded())
    torch.testing.assert_close(codebook.table().mean(0), vectors.mean(0), rtol=0, atol=0.1)
    torch.testing.assert_close(
        torch.cov(codebook.table().T), torch.cov(vectors.T), rtol=0.05, atol=0.1
    )


def test_kmeans_uses_every_centre_and_beats_its_start() -> None:
    vectors = torch.randn(2000, 3)
    start = kmeans(vectors, 64, seeded(), iterations=0)
    centres = kmeans(vectors, 64, seeded())

    def distortion(table: Tensor) -> float:
        return (table[nearest_entries(vectors, table)] - vectors).square().mean().item()

    assert distortion(centres) < 0.9 * distortion(start)
    assert len(nearest_entries(vectors, centres).unique()) == 64
    assert len(kmeans(vectors[:10], 64, seeded()).unique(dim=0)) == 64


def test_kmeans_in_two_storeys_is_as_good_for_other_vectors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors, others = (torch.randn(2, 8000, 6) @ torch.randn(6, 6)).unbind()

    def left(centres: Tensor) -> float:
        return (centres[nearest_entries(others, centres)] - others).square().mean().item()

    flat = kmeans(vectors, 1000, seeded())
    monkeypatch.setattr("audiocodec.quantization.kmeans.FLAT_CENTRES", 500)
    tall = kmeans(vectors, 1000, seeded())
    assert tall.shape == (1000, 6)
    assert left(tall) < 1.02 * left(flat)
    assert len(nearest_entries(vectors, tall).unique()) > 0.98 * 1000
    assert kmeans(vectors[:1000], 1000, seeded()).shape == (1000, 6)


def test_one_step_moves_entries_that_were_not_chosen_as_the_equation_says() -> None:
    """Su, kexue.fm/archives/10519: with SGD on W, de_i = -lr c_i sum_j c_j^T dL/de_j."""
    codebook = SimVQCodebook(SimVQConfig(size=32, dim=4, initialisation="random")).double()
    vectors = torch.randn(3, 4, dtype=torch.float64)
    codes = codebook.nearest(vectors)
    entries = codebook.lookup(codes)
    entries.retain_grad()
    codebook.loss(vectors, entries).backward()
    before, rate = codebook.table().detach().clone(), 0.1
    with torch.no_grad():
        codebook.transform -= rate * codebook.transform.grad
    frozen = codebook.frozen
    predicted = -rate * frozen @ (frozen[codes].T @ entries.grad)
    moved = codebook.table().detach() - before
    torch.testing.assert_close(moved, predicted, rtol=1e-9, atol=1e-12)
    unchosen = torch.ones(32, dtype=torch.bool)
    unchosen[codes] = False
    assert (moved[unchosen].abs().sum(dim=1) > 0).all()


def test_frozen_stays_frozen_and_is_stored() -> None:
    quantizer = make()
    before = [stage.codebook.frozen.clone() for stage in quantizer.stages]
    optimizer = torch.optim.Adam(quantizer.parameters(), 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        quantizer(torch.randn(2, 8, 50)).loss.backward()
        optimizer.step()
    for stage, frozen in zip(quantizer.stages, before, strict=True):
        assert torch.equal(stage.codebook.frozen, frozen)
        assert stage.codebook.transform.grad.abs().sum() > 0
    assert "stages.0.codebook.frozen" in quantizer.state_dict()


@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("stages", [1, 3, 8])
def test_the_gradient_to_the_latents_does_not_grow_with_the_codebooks(
    stages: int, settings: dict[str, object]
) -> None:
    quantizer = make(stages, **settings)
    latents = torch.randn(2, 8, 10, requires_grad=True)
    weights = torch.randn(2, 8, 10)
    (quantizer(latents).latents * weights).sum().backward()
    assert torch.equal(latents.grad, weights)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_each_stages_loss_reaches_the_latents_once(stage: int) -> None:
    """The commitment loss of a stage pulls the latents by 2 beta (r - q) / elements."""
    quantizer = make(3)
    latents = torch.randn(2, 8, 10, requires_grad=True)
    steps = list(quantizer._steps(latents, None))
    one = steps[stage]
    (gradient,) = torch.autograd.grad(
        quantizer.stages[stage].codebook.loss(one.residual, one.quantized), latents
    )
    expected = 0.25 * 2 * (one.residual - one.quantized).detach() / latents.numel()
    torch.testing.assert_close(gradient, expected)


def test_the_loss_is_an_average_over_the_stages_in_use() -> None:
    quantizer = make(3)
    latents = torch.randn(2, 8, 10)
    each = [
        stage.codebook.loss(step.residual, step.quantized) / quantizer.energy
        for stage, step in zip(quantizer.stages, quantizer._steps(latents, None), strict=True)
    ]
    torch.testing.assert_close(quantizer(latents).loss, torch.stack(each).mean())
    torch.testing.assert_close(quantizer(latents, 2).loss, torch.stack(each[:2]).mean())
    both = quantizer(latents, torch.tensor([2, 2])).loss
    torch.testing.assert_close(both, torch.stack(each[:2]).mean())


def test_codebook_dropout_is_each_items_own() -> None:
    quantizer = make(3)
    latents = torch.randn(2, 8, 10)
    mixed = quantizer(latents, torch.tensor([1, 3])).latents
    codes = quantizer.encode(latents)
    torch.testing.assert_close(mixed[:1], quantizer.decode(codes[:1, :1]))
    torch.testing.assert_close(mixed[1:], quantizer.decode(codes[1:]))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("settings", KINDS)
def test_forward_encode_and_decode_agree_bit_for_bit(
    settings: dict[str, object], estimator: str
) -> None:
    quantizer = make(3, estimator=estimator, **settings)
    latents = torch.cat([torch.randn(1, 8, 10), torch.zeros(1, 8, 10)])
    codes = quantizer.encode(latents)
    decoded = quantizer.decode(codes)
    out = quantizer(latents)
    assert torch.equal(out.codes, codes)
    assert torch.equal(out.latents, decoded)
    quantizer.eval()
    codes = quantizer.encode(latents)
    decoded = quantizer.decode(codes)
    tables = InferenceTables(quantizer)
    assert torch.equal(tables.encode(latents), codes)
    torch.testing.assert_close(tables.decode(codes), decoded, rtol=0, atol=1e-5)


def test_each_stage_leaves_less_than_the_one_before() -> None:
    quantizer = make(6, size=64)
    energy = quantizer(torch.randn(4, 8, 200)).residual_energy
    assert (energy.diff() < 0).all()
    assert energy[0].item() == pytest.approx(1, rel=0.1)


def test_straight_through_gives_the_entry_exactly() -> None:
    latents = torch.randn(5, requires_grad=True)
    quantized = torch.randn(5)
    out = straight_through(latents, quantized)
    assert torch.equal(out, quantized)
    out.sum().backward()
    assert torch.equal(latents.grad, torch.ones(5))


def test_three_hundred_steps_keep_the_codes_in_use() -> None:
    """A small autoencoder that drifts while it learns: W alone keeps up with it."""
    random = np.random.default_rng(0)
    data = torch.from_numpy(random.standard_normal((4000, 16)) @ random.standard_normal((16, 24)))
    data = data.float() / data.std()
    encoder, decoder = nn.Linear(24, 8), nn.Linear(8, 24)
    quantizer = make(4, size=64)
    with torch.no_grad():
        quantizer.initialise(encoder(data), seeded())
    network = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam([{"params": network}, {"params": quantizer.parameters()}], lr=1e-3)
    for step in range(300):
        batch = data[step % 10 :: 10]
        quantized = quantizer(encoder(batch).T.unsqueeze(0))
        loss = (decoder(quantized.latents[0].T) - batch).square().mean() + quantized.loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    codes = quantizer.encode(encoder(data).T.unsqueeze(0))[0]
    usage = [len(stage.unique()) / 64 for stage in codes]
    assert min(usage) > 0.9, usage


def test_a_new_kind_is_one_class_and_one_line() -> None:
    class Grid(TableCodebook):
        """Entries at the corners of a cube."""

        Config = CodebookConfig

        def table(self) -> Tensor:
            bits = torch.arange(self.size).unsqueeze(1) >> torch.arange(self.dim)
            return (bits & 1) * 2.0 - 1.0

    CODEBOOKS["grid"] = Grid
    try:
        quantizer = make(2, kind="grid", size=16, dim=4)
        assert quantizer.encode(torch.randn(1, 8, 5)).shape == (1, 2, 5)
    finally:
        del CODEBOOKS["grid"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "simqv"}, "vq, ema_vq, simvq, fsq"),
        ({"kind": "simvq", "sizes": 3}, "did you mean `size`"),
        ({"kind": "simvq", "size": 2**18 + 1}, "`size`.*262144"),
        ({"kind": "vq", "initialisation": "whitened"}, "`initialisation`.*'random' or 'kmeans'"),
        (
            {"kind": "fsq", "initialisation": "whitened"},
            "`initialisation`.*'published' or 'fitted'",
        ),
        ({"kind": "simvq", "transform": "diag"}, "'full', 'diagonal' or 'orthogonal'"),
        ({"kind": "fsq", "levels": [8, 5], "size": 1000}, "`levels`: 8 x 5 is 40.*not 1000"),
        ({"kind": "fsq", "size": 1024}, "`levels`.*240, 1000, 4375, 15360, 64000"),
        ({"kind": "fsq", "levels": [8, 5, 5, 5], "dim": 12}, "`levels`: there are 4.*not 12"),
        ({"kind": "fsq", "levels": [2, 5]}, "levels.0.*3"),
        ({"kind": "fsq", "levels": [100, 100, 100]}, "`size`.*262144"),
        ({"kind": "fsq", "levels": "8555"}, "`levels`"),
        ({"kind": "ema_vq", "decay": 1.0}, "`decay`"),
        ({}, "kind"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(CodecError, match=words):
        codebook_config(values)


@pytest.mark.parametrize(
    ("settings", "dims"),
    [
        ({"num_codebooks": 3}, [12, 12, 12]),
        ({"num_codebooks": 4, "dims": [7, 5]}, [7, 5, 5, 5]),
        ({"num_codebooks": 1, "dims": [7, 5]}, [7]),
    ],
)
def test_stages_have_the_dimensions_they_are_given(
    settings: dict[str, object], dims: list[int]
) -> None:
    config = ResidualQuantizerConfig.from_mapping(settings)
    assert [stage.codebook.dim for stage in ResidualQuantizer(20, config).stages] == dims


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dims": [0]}, "dims"),
        ({"dims": [4], "codebook": {"kind": "fsq"}}, "levels"),
    ],
)
def test_dimensions_that_make_no_sense_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(CodecError, match=words):
        ResidualQuantizerConfig.from_mapping(settings)


@pytest.mark.parametrize("dims", [(), (6, 4, 3)])
@pytest.mark.parametrize("precompute", [True, False])
def test_the_search_in_use_finds_the_codes_of_training(
    dims: tuple[int, ...], precompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    config = ResidualQuantizerConfig(
        num_codebooks=5, dims=dims, codebook={"kind": "simvq", "size": 32, "dim": 4}
    )
    quantizer = ResidualQuantizer(10, config).double()
    frames = torch.randn(600, 10, dtype=torch.float64) * torch.linspace(0.2, 3, 10) + 1
    quantizer.initialise(frames, torch.Generator().manual_seed(0))
    if not precompute:  # as for tables that are too large
        monkeypatch.setattr("audiocodec.quantization.search.MAX_TABLE_ELEMENTS", 0)
    tables = InferenceTables(quantizer)
    latents = torch.randn(2, 10, 70, dtype=torch.float64) + 1
    for count in (1, 3, 5):
        codes = tables.encode(latents, count)
        assert torch.equal(codes, quantizer.encode(latents, count))
        expected = quantizer.decode(codes).detach()
        torch.testing.assert_close(tables.decode(codes), expected, rtol=0, atol=1e-12)
    for beam in (1, 4):
        with pytest.raises(CodecError, match="stage"):
            tables.encode(torch.full_like(latents, float("nan")), beam=beam)


@pytest.mark.parametrize("precompute", [True, False])
def test_a_beam_keeps_the_paths_that_leave_least(
    precompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a plain beam search in the latents' own space."""
    if not precompute:
        monkeypatch.setattr("audiocodec.quantization.search.MAX_TABLE_ELEMENTS", 0)
    quantizer = make(4, latent_dim=6).double()
    tables = InferenceTables(quantizer)
    latents = torch.randn(1, 6, 20, dtype=torch.float64)
    for beam in (2, 5, 40):
        found = tables.encode(latents, 3, beam)[0].T
        for frame, codes in zip(latents[0].T, found, strict=True):
            paths: list[tuple[int, ...]] = [()]
            for _ in range(3):
                longer = [(*path, code) for path in paths for code in range(16)]
                tried = torch.tensor(longer).T.unsqueeze(0)
                left = (frame - quantizer.decode(tried)[0].T).square().sum(dim=1)
                paths = [longer[place] for place in left.argsort()[:beam].tolist()]
            assert tuple(codes.tolist()) == paths[0]


def test_a_code_of_minus_one_adds_nothing() -> None:
    tables = InferenceTables(make(3))
    codes = torch.randint(16, (2, 3, 5))
    fewer = codes.clone()
    fewer[:, 2] = -1
    torch.testing.assert_close(tables.decode(fewer), tables.decode(codes[:, :2]))


@pytest.mark.parametrize("count", [1, 4, 16, 17, 2000])
@pytest.mark.parametrize("size", [1024, 1000, 40])
def test_the_few_least_of_a_row_are_those_of_a_full_search(size: int, count: int) -> None:
    scores = torch.randn(50, size)
    least, places = least_few_of_rows(scores, count)
    whole = scores.sort(dim=1).values[:, :count]
    assert torch.equal(least, whole)
    assert torch.equal(scores.gather(1, places), whole)
