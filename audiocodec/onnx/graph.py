"""A step of a stream as an ONNX graph: a piece and the state in, a result and the new state out.

The state is a tensor for each layer that remembers columns, ``past.LAYER`` and ``next.LAYER``.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiocodec.errors import CodecError
from audiocodec.modules.conv import StateShapes, StreamState

OPSET = 17
"""Old enough for every ONNX Runtime since 1.12, new enough for all that the layers need."""

Compute = Callable[[Tensor, StreamState], Tensor]


def import_onnxruntime(who: str) -> Any:
    """The package ``onnxruntime``, if what the exporter needs is installed as well.

    From 1.29 on it reports its use to Microsoft unless the environment says not to before it is
    imported. Nothing here calls anywhere, so the environment is made to say so.

    Raises:
        CodecError: ``who`` needs a package that is missing.
    """
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise CodecError(f"{who} needs the package {package}: pip install 'audiocodec[onnx]'")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


class Step(nn.Module):
    """A step of a stream as a function of tensors: ``piece, *past -> result, *next``.

    Args:
        compute: the step: a piece and the state, which it updates, -> the result.
        shapes: of the states.
        network: the module whose weights ``compute`` uses.
        input_name, output_name: of piece and result in the graph.
    """

    def __init__(
        self,
        compute: Compute,
        shapes: StateShapes,
        network: nn.Module,
        input_name: str,
        output_name: str,
    ) -> None:
        super().__init__()
        self.compute = compute
        self.network = network
        self.shapes = shapes
        self.input_name, self.output_name = input_name, output_name

    def forward(self, piece: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        state = StreamState(dict(zip(self.shapes, past, strict=True)))
        result = self.compute(piece, state)
        return result, *(state.columns[layer] for layer in self.shapes)

    def export(self, piece: Tensor, path: Path) -> dict[str, Any]:
        """Write the graph, traced with ``piece``; batch and length are free in it.

        Returns:
            What a caller must know of it, ready for JSON.
        """
        past, after = ([f"{when}.{layer}" for layer in self.shapes] for when in ("past", "next"))
        zeros = [torch.zeros(len(piece), *shape) for shape in self.shapes.values()]
        batches = {name: {0: "batch"} for name in (*past, *after)}
        with warnings.catch_warnings(), torch.no_grad():
            # The exporter by torch.export takes 30 times as long; see docs/decisions.md.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.eval(),
                (piece, *zeros),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=[self.input_name, *past],
                output_names=[self.output_name, *after],
                dynamic_axes={
                    self.input_name: {0: "batch", 2: f"{self.input_name}_columns"},
                    self.output_name: {0: "batch", 2: f"{self.output_name}_columns"},
                    **batches,
                },
            )
        states = [
            {"input": one, "output": other, "shape": list(shape)}
            for one, other, shape in zip(past, after, self.shapes.values(), strict=True)
        ]
        return {
            "file": path.name,
            "input": self.input_name,
            "output": self.output_name,
            "states": states,
        }
