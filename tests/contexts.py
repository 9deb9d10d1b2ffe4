"""A small random context model, for tests of token files."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.tokens.context import ContextModel


def random_context(sizes: tuple[int, ...], seed: int = 0) -> ContextModel:
    """A context model of codebooks of these sizes, with weights that nothing has trained."""
    draw = np.random.default_rng(seed)
    dim, width, hidden = 3, 5, 4

    def layer(name: str, outputs: int, inputs: int, shift: int) -> dict[str, npt.NDArray[Any]]:
        return {
            f"{name}.weight": draw.integers(-20, 21, (outputs, inputs)).astype(np.int8),
            f"{name}.shift": np.full(outputs, shift, np.int8),
            f"{name}.bias": draw.integers(-50, 51, outputs).astype(np.int16),
        }

    tensors: dict[str, npt.NDArray[Any]] = {
        "table": np.round(2**20 * np.exp(-np.arange(400) / 32)).astype(np.int32),
        "start.sum": draw.integers(-9, 10, (len(sizes), dim)).astype(np.int8),
        "start.state": draw.integers(-999, 1000, (len(sizes), width)).astype(np.int16),
        **layer("memory", 2 * width, width + dim, 3),
    }
    for stage, size in enumerate(sizes):
        embedding = draw.integers(-90, 91, (size, dim)).astype(np.int8)
        tensors[f"stages.{stage}.embedding"] = embedding
        tensors |= layer(f"stages.{stage}.hidden", hidden, width + dim, 4)
        tensors |= layer(f"stages.{stage}.logits", size, hidden, 6)
    return ContextModel(tensors)
