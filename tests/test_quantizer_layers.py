"""The quantisers as layers of other networks: layouts, masks, the start on data, and a peer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from audiocodec import CodecError, load_codec
from audiocodec.checkpoint import load_trainable
from audiocodec.quantization import (
    EMAVQ,
    FSQ,
    VQ,
    ResidualEMAVQ,
    ResidualFSQ,
    ResidualSimVQ,
    ResidualVQ,
    SimVQ,
)
from audiocodec.quantization.layer import QuantizerLayer
from audiocodec.quantization.simvq import SimVQCodebook

SINGLE: dict[str, Callable[..., Any]] = {
    "simvq": lambda **more: SimVQ(dim=6, codebook_size=16, **more),
    "simvq in 4 dimensions": lambda **more: SimVQ(dim=6, codebook_size=16, codebook_dim=4, **more),
    "vq": lambda **more: VQ(dim=6, codebook_size=16, **more),
    "ema_vq": lambda **more: EMAVQ(dim=6, codebook_size=16, **more),
    "fsq": lambda **more: FSQ(levels=[4, 4], dim=6, **more),
}
RESIDUAL: dict[str, Callable[..., Any]] = {
    "simvq": lambda **more: ResidualSimVQ(dim=6, codebook_size=16, num_quantizers=3, **more),
    "simvq in 4 dimensions": lambda **more: ResidualSimVQ(
        dim=6, codebook_size=16, num_quantizers=3, codebook_dim=4, **more
    ),
    "vq": lambda **more: ResidualVQ(dim=6, codebook_size=16, num_quantizers=3, **more),
    "ema_vq": lambda **more: ResidualEMAVQ(dim=6, codebook_size=16, num_quantizers=3, **more),
    "fsq": lambda **more: ResidualFSQ(dim=6, levels=[4, 4], num_quantizers=3, **more),
}


def started(layer: Any, scale: float = 1.0, mean: float = 0.0) -> Any:
    """``layer``, fitted to random vectors, in evaluation mode."""
    layer.initialise(mean + scale * torch.randn(400, layer.dim))
    return layer.eval()


@pytest.mark.parametrize("kind", SINGLE)
def test_one_codebook_keeps_every_layout(kind: str) -> None:
    for shape in ((5,), (5, 7), (5, 3, 4)):
        layer = started(SINGLE[kind](), scale=3.0, mean=2.0)
        x = 2 + 3 * torch.randn(*shape, 6)
        quantized, indices, loss = layer(x)
        assert quantized.shape == x.shape and quantized.dtype == x.dtype
        assert indices.shape == shape and indices.dtype == torch.int64 and loss.ndim == 0
        torch.testing.assert_close(layer.get_output_from_indices(indices), quantized)
        torch.testing.assert_close(layer.codebook[indices], quantized)
        assert (quantized - x).square().mean() < 0.85 * 9
        layer.channel_first = True
        same, same_indices, _ = layer(x.movedim(-1, 1))
        assert torch.equal(same_indices, indices)
        torch.testing.assert_close(same.movedim(1, -1), quantized)
        torch.testing.assert_close(layer.get_codes_from_indices(indices), same)


@pytest.mark.parametrize("kind", RESIDUAL)
def test_residual_codebooks_keep_every_layout(kind: str) -> None:
    for shape in ((5,), (5, 7), (5, 3, 4)):
        layer = started(RESIDUAL[kind](), scale=3.0, mean=2.0)
        x = 2 + 3 * torch.randn(*shape, 6)
        quantized, indices, losses, codes = layer(x, return_all_codes=True)
        assert quantized.shape == x.shape
        assert indices.shape == (*shape, 3) and losses.shape == (3,)
        assert codes.shape == (3, *x.shape)
        torch.testing.assert_close(codes.sum(dim=0), quantized)
        torch.testing.assert_close(layer.get_output_from_indices(indices), quantized)
        chosen = [layer.codebooks[q][indices[..., q]] for q in range(3)]
        torch.testing.assert_close(torch.stack(chosen), codes)
        layer.channel_first = True
        first = layer(x.movedim(-1, 1), return_all_codes=True)
        torch.testing.assert_close(first[0].movedim(1, -1), quantized)
        assert torch.equal(first[1], indices)
        torch.testing.assert_close(first[3].movedim(2, -1), codes)
        # Fewer quantizers, and -1, are what a first part of them gives.
        two = layer.get_output_from_indices(indices[..., :2])
        cut = indices.clone()
        cut[..., 2] = -1
        assert torch.equal(layer.get_output_from_indices(cut), two)


@pytest.mark.parametrize("kind", RESIDUAL)
def test_what_is_masked_changes_nothing(kind: str) -> None:
    lengths = torch.tensor([7, 4, 0])
    mask = torch.arange(7) < lengths.unsqueeze(1)
    x = torch.randn(3, 7, 6)
    padded = x.where(mask.unsqueeze(-1), torch.nan)
    results = []
    for inputs, masks in ((padded, mask), (x[mask], None)):
        torch.manual_seed(0)
        layer = RESIDUAL[kind]()
        x_in = inputs.clone().requires_grad_()
        quantized, indices, losses = layer(x_in, masks)
        (quantized.square().sum() + losses.sum()).backward()
        results.append((layer, quantized, indices, losses, x_in.grad))
    (layer, quantized, indices, losses, gradient), (alone, *rest) = results
    assert (quantized[~mask] == 0).all() and (indices[~mask] == -1).all()
    assert (gradient[~mask] == 0).all()
    torch.testing.assert_close(quantized[mask], rest[0])
    assert torch.equal(indices[mask], rest[1])
    torch.testing.assert_close(losses, rest[2])
    torch.testing.assert_close(gradient[mask], rest[3])
    for name, value in layer.state_dict().items():
        torch.testing.assert_close(value, alone.state_dict()[name])
    quantized, indices, losses = layer(x, torch.zeros(3, 7, dtype=torch.bool))
    assert not quantized.any() and (indices == -1).all() and not losses.any()


def test_the_start_on_data_needs_no_call() -> None:
    """Far from the origin, random entries are all equally wrong; fitted ones are not."""
    torch.manual_seed(0)
    layer = ResidualSimVQ(
        dim=6, codebook_size=16, num_quantizers=2, start_vectors=100, start_steps=(1, 6)
    )
    table = layer.quantizer.stages[0].codebook
    assert isinstance(table, SimVQCodebook)

    def fits(x: Tensor) -> bool:
        before = table.frozen.clone()
        layer.train()(x)
        return not torch.equal(table.frozen, before)

    def batch(mean: float = 50) -> Tensor:
        return mean + torch.randn(40, 6)

    with pytest.raises(CodecError, match="not been fitted"):
        layer.eval()(batch())
    assert fits(batch())  # the first
    assert not fits(batch())
    layer.eval()(batch())  # evaluation counts for nothing
    assert fits(batch())  # 120 vectors
    assert not fits(batch()) and not fits(batch())
    quantized, indices, _ = layer(x := batch())  # the sixth: collected, as all from here on
    assert (quantized - x).square().mean() < 0.5 and len(indices[:, 0].unique()) > 8
    # The encoder has moved away.
    assert [fits(batch(200)) for _ in range(4)] == [False, True, False, False]
    assert layer.quantizer.center.mean() > 100


def test_the_start_draws_no_random_numbers_of_the_caller() -> None:
    layer = ResidualSimVQ(dim=6, codebook_size=16, num_quantizers=2)
    x = torch.randn(200, 6)
    before = torch.get_rng_state()
    layer(x)
    assert torch.equal(torch.get_rng_state(), before)


def test_loaded_weights_are_a_start() -> None:
    trained = started(ResidualSimVQ(dim=6, codebook_size=16, num_quantizers=2))
    fresh = ResidualSimVQ(dim=6, codebook_size=16, num_quantizers=2)
    fresh.load_state_dict(trained.state_dict())
    x = torch.randn(9, 6)
    for mode in (True, False):
        assert torch.equal(fresh.train(mode)(x)[1], trained(x)[1])


def test_the_weights_of_a_codec_are_those_of_the_layer() -> None:
    codec = load_trainable("speech_16khz")
    layer = ResidualSimVQ(
        dim=192,
        codebook_size=1024,
        num_quantizers=16,
        codebook_dim=[stage.dim for stage in codec.config.quantizer.stages],
    )
    layer.quantizer.load_state_dict(codec.quantizer.state_dict())
    layer.started.fill_(True)
    layer.load_state_dict(layer.state_dict())
    runtime = load_codec("speech_16khz")
    audio = torch.randn(2, 1, 6400, generator=torch.Generator().manual_seed(0)) / 10
    latents = runtime.latents(audio)
    _, indices, _ = layer.eval()(latents.mT)
    assert torch.equal(indices.mT, codec.quantizer.encode(latents))


def _fit_on_a_rank(rank: int, address: str, results: Any) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    torch.manual_seed(rank)
    layer = ResidualSimVQ(dim=4, codebook_size=8, num_quantizers=2, codebook_dim=2)
    for _ in range(3):
        layer(torch.randn(30 - 5 * rank, 4))
    results.put((rank, {name: value.tolist() for name, value in layer.state_dict().items()}))
    distributed.destroy_process_group()


def test_all_ranks_start_alike(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    address = f"file://{tmp_path / 'rendezvous'}"
    ranks = [context.Process(target=_fit_on_a_rank, args=(n, address, results)) for n in (0, 1)]
    for rank in ranks:
        rank.start()
    states = dict(results.get(timeout=120) for _ in ranks)
    for rank in ranks:
        rank.join()
    assert states[0] == states[1] and states[0]["started"] is True


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SimVQ(6, 16)(torch.randn(2, 6, 7)), r"channel_first=True"),
        (lambda: SimVQ(6, 16, channel_first=True)(torch.randn(2, 7, 6)), r"\[B, 6, \.\.\.\]"),
        (lambda: SimVQ(6, 16)(torch.ones(2, 6, dtype=torch.int64)), "float"),
        (lambda: SimVQ(6, 16)(torch.randn(2, 7, 6), torch.ones(2, 6)), r"mask .* \[2, 7\]"),
        (lambda: SimVQ(6, 16).initialise(torch.randn(1, 6)), "at least two"),
        (lambda: SimVQ(6, 16, codebook_dim=8), "codebook_dim: at most dim"),
        (lambda: SimVQ(6, 1), "size"),
        (lambda: SimVQ(6, 16, transform="round"), "transform"),
        (lambda: FSQ([4, 4], dim=1), "codebook_dim"),
        (lambda: ResidualVQ(dim=6, codebook_size=16, num_quantizers=0), "num_codebooks"),
        (
            lambda: ResidualVQ(
                dim=6, codebook_size=16, num_quantizers=2, quantize_dropout_cutoff_index=2
            ),
            "quantize_dropout_cutoff_index: 0 to 1",
        ),
        (
            lambda: SimVQ(6, 16, initialisation="whitened")(torch.zeros(50, 6)),
            "vary too little",
        ),
        (
            lambda: SimVQ(6, 16).get_output_from_indices(torch.tensor([16])),
            "indices lie in -1 ... 15",
        ),
    ],
)
def test_a_mistake_is_one_line(make: Callable[[], object], match: str) -> None:
    with pytest.raises(CodecError, match=match) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_quantizer_dropout_leaves_out_the_last() -> None:
    torch.manual_seed(0)
    layer = ResidualSimVQ(
        dim=6,
        codebook_size=16,
        num_quantizers=6,
        quantize_dropout=True,
        quantize_dropout_cutoff_index=1,
        quantize_dropout_multiple_of=2,
    )
    x = torch.randn(300, 6)
    numbers = set()
    for _ in range(30):
        quantized, indices, losses = layer(x)
        in_use = int((indices[0] >= 0).sum())
        assert (indices[:, :in_use] >= 0).all() and (indices[:, in_use:] == -1).all()
        assert (losses[:in_use] > 0).all() and not losses[in_use:].any()
        torch.testing.assert_close(layer.get_output_from_indices(indices), quantized)
        numbers.add(in_use)
    assert numbers == {2, 4, 6}
    assert (layer.eval()(x)[1] >= 0).all()


def test_half_precision_stays() -> None:
    layer = started(SimVQ(6, 16))
    x = torch.randn(5, 6, dtype=torch.bfloat16, requires_grad=True)
    quantized, indices, loss = layer(x)
    assert quantized.dtype == torch.bfloat16 and loss.dtype == torch.float32
    (quantized.float().sum() + loss).backward()
    assert x.grad is not None and x.grad.dtype == torch.bfloat16
    assert torch.equal(indices, layer(x.float())[1])


@pytest.mark.parametrize(
    ("script", "arguments", "lines"),
    [
        ("examples/image_vqvae.py", ["--size", "32", "--steps", "20", "--seeds", "1"], 8),
        ("benchmarks/moe_shared_map.py", ["--steps", "5", "--seeds", "1"], 9),
    ],
)
def test_the_scripts_on_images_run(script: str, arguments: list[str], lines: int) -> None:
    pytest.importorskip("sklearn")
    path = Path(__file__).resolve().parents[1] / script
    result = subprocess.run(
        [sys.executable, str(path), *arguments], capture_output=True, text=True, check=True
    )
    assert len(result.stdout.splitlines()) == lines


def test_the_import_is_light() -> None:
    program = """
import sys
import audiocodec.quantization
assert not {"torch", "numpy", "pydantic"} & set(sys.modules)
from audiocodec.quantization import ResidualSimVQ
mine = {name for name in sys.modules if name.startswith("audiocodec")}
assert not any("quantization" not in name for name in mine - {
    "audiocodec", "audiocodec.config", "audiocodec.errors", "audiocodec.ranks"}), mine
assert not {"soundfile", "soxr", "librosa", "transformers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# The peer: https://github.com/lucidrains/vector-quantize-pytorch, call for call.


def share(ours: QuantizerLayer, theirs: Any) -> None:
    """Give both the same entries."""
    layers = getattr(theirs, "layers", [theirs])
    with torch.no_grad():
        for stage, layer in zip(ours.quantizer.stages, layers, strict=True):
            codebook: Any = stage.codebook
            codebook.transform.copy_(torch.randn(codebook.dim, codebook.dim))
            layer.frozen_codebook.copy_(codebook.frozen)
            layer.code_transform.weight.copy_(codebook.transform.T)


def same(ours: Any, theirs: Any) -> None:
    """Results of equal number, shapes, types and values."""
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple) and len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            same(mine, other)
    else:
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("channel_first", [False, True])
@pytest.mark.parametrize("rotation_trick", [False, True])
@pytest.mark.parametrize("space", [(7,), (3, 4)])
def test_simvq_is_called_like_a_peers(
    space: tuple[int, ...], rotation_trick: bool, channel_first: bool
) -> None:
    peers = pytest.importorskip("vector_quantize_pytorch")
    arguments = {
        "dim": 6,
        "codebook_size": 32,
        "channel_first": channel_first,
        "rotation_trick": rotation_trick,
        "input_to_quantize_commit_loss_weight": 0.3,
        "commitment_weight": 0.7,
    }
    ours: Any = SimVQ(**arguments, initialisation="random")
    theirs = peers.SimVQ(**arguments)
    share(ours, theirs)
    x = torch.randn(2, 6, *space) if channel_first else torch.randn(2, *space, 6)
    results = []
    for layer in (ours, theirs):
        inputs = x.clone().requires_grad_()
        quantized, indices, loss = layer(inputs)
        (quantized.sum() + loss).backward()
        codes = layer.indices_to_codes(indices)
        results.append((quantized, indices, loss, codes, layer.codebook, inputs.grad))
    same(*results)
    assert (ours.dim, ours.codebook_size, ours.channel_first) == (6, 32, theirs.channel_first)


@pytest.mark.parametrize("channel_first", [False, True])
@pytest.mark.parametrize("space", [(7,), (3, 4)])
def test_residual_simvq_is_called_like_a_peers(space: tuple[int, ...], channel_first: bool) -> None:
    peers = pytest.importorskip("vector_quantize_pytorch")
    arguments = {
        "dim": 6,
        "codebook_size": 32,
        "num_quantizers": 4,
        "channel_first": channel_first,
        "rotation_trick": False,
        "quantize_dropout": True,
        "quantize_dropout_cutoff_index": 1,
    }
    ours: Any = ResidualSimVQ(**arguments, initialisation="random")
    theirs = peers.ResidualSimVQ(**arguments)
    share(ours, theirs)
    x = torch.randn(2, 6, *space) if channel_first else torch.randn(2, *space, 6)
    results = []
    for layer in (ours.eval(), theirs.eval()):
        everything = layer(x, return_all_codes=True)
        indices = everything[1]
        results.append(
            (
                layer(x),
                everything,
                layer.get_codes_from_indices(indices),
                layer.get_output_from_indices(indices),
                layer.get_output_from_indices(indices[..., :2]),
                layer.codebooks,
            )
        )
    same(*results)
    assert (ours.num_quantizers, ours.codebook_size) == (
        theirs.num_quantizers,
        theirs.codebook_size,
    )


def test_vq_is_masked_like_a_peers() -> None:
    peers = pytest.importorskip("vector_quantize_pytorch")
    ours: Any = EMAVQ(6, 16, initialisation="random").eval()
    theirs = peers.VectorQuantize(dim=6, codebook_size=16).eval()
    theirs._codebook.embed.data.copy_(ours.codebook.detach().unsqueeze(0))
    x, mask = torch.randn(2, 7, 6), torch.rand(2, 7) < 0.6
    for mine, other in zip(ours(x, mask)[:2], theirs(x, mask=mask)[:2], strict=True):
        torch.testing.assert_close(mine, other)
    indices: Tensor = ours(x)[1]
    same(ours.get_output_from_indices(indices), theirs.get_output_from_indices(indices))
    # In evaluation theirs computes no loss; in training both mean the valid vectors alone.
    torch.testing.assert_close(
        ours(x, mask)[2], (ours(x)[0][mask] - x[mask]).square().mean().reshape(())
    )


def test_published_fsq_is_called_like_a_peers() -> None:
    peers = pytest.importorskip("vector_quantize_pytorch")
    settings: Any = {"bound": "tanh", "initialisation": "published", "commitment_weight": 0}
    ours, theirs = FSQ([8, 5, 5], **settings), peers.FSQ([8, 5, 5])
    x = torch.randn(2, 9, 3)
    quantized, indices, loss = ours(x)
    same((quantized, indices.int()), theirs(x))
    same(ours.indices_to_codes(indices), theirs.indices_to_codes(indices))
    assert loss == 0 and ours.codebook_size == theirs.codebook_size
