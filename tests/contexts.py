"""Small random context models, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.tokens.context import ContextModel

Tensors = dict[str, npt.NDArray[Any]]


def random_context(sizes: tuple[int, ...], seed: int = 0) -> ContextModel:
    """A context model of codebooks of these sizes, which nothing has trained."""
    return ContextModel(random_tensors(sizes, seed))


def random_tensors(
    sizes: tuple[int, ...], seed: int = 0, dim: int = 8, width: int = 12, hidden: int = 10
) -> Tensors:
    """A context model with random weights over their whole range, whose gates do not saturate."""
    random = np.random.default_rng(seed)
    tensors: Tensors = {
        "table": np.round(65536 * np.exp(-np.arange(400) / 32)).astype(np.int32),
        "start.sum": random.integers(-60, 60, (len(sizes), dim)).astype(np.int8),
        "start.state": random.integers(-(2**14), 2**14, (len(sizes), width)).astype(np.int16),
    }

    def add(name: str, outputs: int, inputs: int, shift: int) -> None:
        tensors[f"{name}.weight"] = random.integers(-127, 128, (outputs, inputs)).astype(np.int8)
        tensors[f"{name}.shift"] = random.integers(shift - 1, shift + 2, outputs).astype(np.int8)
        tensors[f"{name}.bias"] = random.integers(-100, 100, outputs).astype(np.int16)

    add("memory", 3 * width, width + dim, 9)
    for stage, size in enumerate(sizes):
        embedding = random.integers(-127, 128, (size, dim)).astype(np.int8)
        tensors[f"stages.{stage}.embedding"] = embedding
        add(f"stages.{stage}.hidden", hidden + stage, width + dim, 8)
        add(f"stages.{stage}.logits", size, hidden + stage, 10)
    return tensors
