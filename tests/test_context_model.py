"""The context model's frequencies are the same code by code, in bulk, and by any arithmetic."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts import Tensors, random_tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from audiocodec.bundled import MODELS
from audiocodec.errors import CodecError
from audiocodec.tokens.context import CONTEXT_NAME, ContextModel
from audiocodec.tokens.context.frequencies import to_frequencies
from audiocodec.training.context.network import ContextConfig, ContextNetwork

TOTAL = 2**ContextModel.precision


def random_codes(sizes: tuple[int, ...], rows: int, frames: int, seed: int = 1) -> Any:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, (rows, frames)) for size in sizes], axis=1)


def step_by_step(model: ContextModel, codes: Any) -> tuple[Any, Any, list[Any]]:
    """Starts, frequencies, and all frequency tables, as a decoder sees them."""
    rows, count, frames = codes.shape
    starts, chosen = np.empty_like(codes), np.empty_like(codes)
    tables = []
    predictor = model.predictor(rows, count)
    for frame in range(frames):
        for stage in range(count):
            table = predictor.frequencies(stage)
            tables.append(table)
            for row, code in enumerate(codes[:, stage, frame]):
                starts[row, stage, frame] = table[row, :code].sum()
                chosen[row, stage, frame] = table[row, code]
            predictor.put(stage, codes[:, stage, frame])
    return starts, chosen, tables


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple),
    used=st.integers(1, 4),
    rows=st.integers(1, 5),
    frames=st.integers(0, 6),
    seed=st.integers(0, 1000),
)
def test_decoding_finds_the_intervals_of_encoding(
    sizes: tuple[int, ...], used: int, rows: int, frames: int, seed: int
) -> None:
    model = ContextModel(random_tensors(sizes, seed))
    codes = random_codes(sizes[:used], rows, frames, seed)
    starts, frequencies = model.intervals(codes)
    again_starts, again, tables = step_by_step(model, codes)
    assert (starts == again_starts).all() and (frequencies == again).all()
    for table in tables:
        assert table.dtype == np.int64
        assert (table.sum(axis=1) == TOTAL).all() and table.min() >= 1


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    sizes = (64, 32)
    model = ContextModel(random_tensors(sizes))
    codes = random_codes(sizes, rows=9, frames=60)  # more than one piece of intervals()
    starts, frequencies = model.intervals(codes)
    for row in range(9):
        alone = model.intervals(codes[row : row + 1])
        assert (alone[0][0] == starts[row]).all() and (alone[1][0] == frequencies[row]).all()


def test_the_context_is_the_past_alone() -> None:
    sizes = (16, 16, 16)
    model = ContextModel(random_tensors(sizes))
    codes = random_codes(sizes, rows=1, frames=8)
    other = codes.copy()
    other[0, 1, 5] = (other[0, 1, 5] + 1) % 16
    before, after = model.intervals(codes)[1], model.intervals(other)[1]
    assert (before[:, :, :5] == after[:, :, :5]).all()
    assert before[0, 0, 5] == after[0, 0, 5]
    assert before[0, 2, 5] != after[0, 2, 5] and (before[0, :, 6] != after[0, :, 6]).any()


def integer_frequencies(tensors: Tensors, codes: Any, generator: torch.Generator) -> list[Any]:
    """All frequencies of one row of codes ``[K, F]``: int64, loops, terms in a random order."""
    get = {name: torch.from_numpy(value.astype(np.int64)) for name, value in tensors.items()}

    def products(name: str, inputs: torch.Tensor, first: int = 0) -> torch.Tensor:
        order = torch.randperm(len(inputs), generator=generator)
        weight = get[f"{name}.weight"][:, first : first + len(inputs)]
        return torch.einsum("oi,i->o", weight[:, order], inputs[order])

    def finish(name: str, sums: torch.Tensor, part: slice = slice(None)) -> torch.Tensor:
        return (sums[part] >> get[f"{name}.shift"][part]) + get[f"{name}.bias"][part]

    count, frames = codes.shape
    state, width = get["start.state"][count - 1].clone(), tensors["start.state"].shape[1]
    found = []
    for frame in range(frames):
        seen, total = state >> 6, get["start.sum"][count - 1].clone()
        for stage in range(count):
            name = f"stages.{stage}"
            inputs = torch.cat([seen, total.clamp(-255, 255)])
            hidden = finish(f"{name}.hidden", products(f"{name}.hidden", inputs)).clamp(0, 255)
            logits = finish(f"{name}.logits", products(f"{name}.logits", hidden))
            table = get["table"]
            weights = table[(logits.max() - logits).clamp(max=len(table) - 1)]
            frequencies = 1 + weights * (TOTAL - len(logits)) // weights.sum()
            frequencies[int((logits == logits.max()).nonzero()[0])] += TOTAL - frequencies.sum()
            found.append(frequencies.numpy())
            total += get[f"{name}.embedding"][codes[stage, frame]]
        own, other = products("memory", seen), products("memory", total.clamp(-255, 255), width)
        both, last = slice(0, 2 * width), slice(2 * width, None)
        gates = finish("memory", own + other, both).clamp(0, 256)
        update, reset = gates[:width], gates[width:]
        carried = (own[last] >> get["memory.shift"][last]).clamp(-32767, 32767)
        candidate = finish("memory", other, last) + (reset * carried >> 8)
        candidate = candidate.clamp(-256, 256)
        state = state + (update * (64 * candidate - state) >> 8)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_frequencies_equal_those_of_int64_arithmetic_in_any_order(seed: int) -> None:
    sizes = (50, 7, 23)
    tensors = random_tensors(sizes, seed, dim=16, width=40, hidden=30)
    codes = random_codes(sizes, rows=1, frames=12, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    expected = integer_frequencies(tensors, codes[0], generator)
    _, _, tables = step_by_step(ContextModel(tensors), codes)
    assert len(tables) == len(expected) == 36
    for table, frequencies in zip(tables, expected, strict=True):
        assert (table[0] == frequencies).all()
    assert len({tuple(table[0]) for table in tables}) == 36  # they do depend on the context


def trained_network(sizes: tuple[int, ...], seed: int) -> ContextNetwork:
    """A network with weights as large as after training."""
    torch.manual_seed(seed)
    network = ContextNetwork(ContextConfig(dim=6, state=10, hidden=(12, 7)), sizes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize("seed", range(3))
def test_the_network_in_training_computes_the_frequencies_of_the_file(seed: int) -> None:
    """PyTorch's matrix products and NumPy's: the same integers, also after saving."""
    sizes = (16, 5, 9)
    network = trained_network(sizes, seed)
    model = ContextModel(network.tensors())
    codes = random_codes(sizes, rows=4, frames=15, seed=seed)
    _, _, tables = step_by_step(model, codes)
    for stage, logits in enumerate(network.exact_logits(torch.from_numpy(codes))):
        for frame in range(15):
            found = to_frequencies(logits[:, frame].numpy(), model.table, model.precision)
            assert (found == tables[3 * frame + stage]).all()


def test_a_file_gives_the_model_back(tmp_path: Path) -> None:
    model = ContextModel(random_tensors((16, 5)))
    model.save(tmp_path / "context.safetensors")
    loaded = ContextModel.load(tmp_path)
    assert loaded.fingerprint == model.fingerprint and len(model.fingerprint) == 16
    assert loaded.codebook_sizes == (16, 5)
    codes = random_codes((16, 5), rows=2, frames=5)
    assert (loaded.intervals(codes)[1] == model.intervals(codes)[1]).all()


def test_the_fingerprint_sees_one_changed_weight() -> None:
    tensors = random_tensors((16, 5))
    before = ContextModel(tensors).fingerprint
    tensors["memory.weight"][0, 0] ^= 1
    assert ContextModel(tensors).fingerprint != before


def test_weights_whose_sums_float32_cannot_hold_are_refused() -> None:
    tensors = random_tensors((16,), width=700)
    with pytest.raises(CodecError, match=r"sums of `memory` may reach \d+, 2\^24 or more"):
        ContextModel(tensors | {"memory.weight": np.full_like(tensors["memory.weight"], -127)})


BAD: list[tuple[str, Any, str]] = [
    ("table", np.array([5, 6], np.int32), "does not fall"),
    ("table", np.array([0, 0], np.int32), "does not fall"),
    ("table", np.array([5, -1], np.int32), "does not fall"),
    ("table", np.array([], np.int32), "`table` is int32"),
    ("start.sum", np.zeros((1, 8), np.int8), r"`start.sum` is int8 \[1, 8\], not int8 \[2, any\]"),
    ("start.state", np.full((2, 12), 2**14 + 1, np.int16), "not within 16384"),
    ("memory.weight", np.zeros((36, 21), np.int8), r"not int8 \[36, 20\]"),
    ("memory.shift", np.full(36, -1, np.int8), "not within 0 and 20"),
    ("stages.1.embedding", np.zeros((5, 8), np.int16), "is int16"),
    ("stages.1.logits.weight", None, "`stages.1.logits.weight` is absent"),
    ("stages.0.embedding", None, "not numbered from 0"),
    ("stages.1.hidden.bias", np.zeros((), np.int16), r"is int16 \[\]"),
]


@pytest.mark.parametrize(("name", "value", "words"), BAD)
def test_what_is_not_a_context_model_is_one_line(
    name: str, value: Any, words: str, tmp_path: Path
) -> None:
    tensors = random_tensors((16, 5))
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value
    path = tmp_path / "context.safetensors"
    save_file(tensors, path)
    with pytest.raises(CodecError, match=words) as error:
        ContextModel.load(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_a_file_that_is_missing_or_damaged_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="train-context"):
        ContextModel.load(tmp_path)
    path = tmp_path / "context.safetensors"
    ContextModel(random_tensors((16, 5))).save(path)
    data = path.read_bytes()
    for size in (0, 7, 100, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CodecError, match="damaged"):
            ContextModel.load(path)


def test_a_codebook_that_16_bits_cannot_code_is_refused() -> None:
    tensors = random_tensors((20_000,), dim=1, width=1, hidden=1)
    with pytest.raises(CodecError, match=r"20000 entries, more than 16,384"):
        ContextModel(tensors)


def test_codes_that_do_not_exist_are_refused() -> None:
    model = ContextModel(random_tensors((16, 5)))
    for codes in ([[[16], [0]]], [[[0], [-1]]]):
        with pytest.raises(CodecError, match="are not all within"):
            model.intervals(np.array(codes))
    with pytest.raises(CodecError, match="1 to 2 codebooks, not 3"):
        model.intervals(np.zeros((1, 3, 1), np.int64))
    with pytest.raises(CodecError, match="1 to 2 codebooks, not 0"):
        model.predictor(1, 0)


def test_the_bundled_models_frequencies_are_these_on_every_machine() -> None:
    """Token files that were coded with it depend on every one of them."""
    model = ContextModel.load(MODELS / "speech_16khz")
    assert model.fingerprint == "7ca364ef1891b763"
    assert (MODELS / "speech_16khz" / CONTEXT_NAME).stat().st_size <= 4_000_000
    digest = hashlib.sha256()
    for count in (1, 3, 12):
        codes = (np.arange(2 * count * 20).reshape(2, count, 20) * 7919) % 1024
        for table in step_by_step(model, codes)[2]:
            digest.update(table.astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == "6e4f7bad12a31ed8"
