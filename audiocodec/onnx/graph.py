"""A step of a stream as an ONNX graph: a piece and the state in, a result and the new state out.

The state is a tensor for each layer that remembers columns, ``past.LAYER`` and ``next.LAYER``.
"""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.modules.conv import StreamState

OPSET = 17
"""Old enough for every ONNX Runtime since 1.12, new enough for all that the layers need."""


def import_onnxruntime(who: str) -> Any:
    """The package, once it is sure that the exporter has what it needs as well.

    From 1.29 on it reports its use to Microsoft unless it is told before it is imported not to;
    nothing here calls anywhere, so it is told.

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

    ``piece`` is one that the step is traced with; ``input_name`` and ``output_name`` are names in
    the graph. A subclass defines the step. Batch and length are free in the graph.
    """

    input_name: str
    output_name: str

    def __init__(self, codec: Codec, network: nn.Module, piece: Tensor) -> None:
        super().__init__()
        self.codec = codec
        self.network = network
        self.piece = piece
        state = StreamState()
        with torch.no_grad():
            self.step(piece, state)
        self.columns = state.named(network)
        self.layers = list(self.columns)

    def step(self, piece: Tensor, state: StreamState) -> Tensor:
        raise NotImplementedError

    def forward(self, piece: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        columns = dict(zip(self.layers, past, strict=True))
        state = StreamState.of_named(self.network, columns, piece.shape[0])
        result = self.step(piece, state)
        after = state.named(self.network)
        return result, *(after[layer] for layer in self.layers)

    def export(self, path: Path) -> dict[str, Any]:
        """Write the graph; what a caller must know of it, ready for JSON."""
        past, after = ([f"{when}.{layer}" for layer in self.layers] for when in ("past", "next"))
        batches = {name: {0: "batch"} for name in (*past, *after)}
        with warnings.catch_warnings():
            # The exporter by torch.export takes 30 times as long; see docs/decisions.md.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                self.eval(),
                (self.piece, *self.columns.values()),
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
            {"input": one, "output": other, "shape": list(columns.shape[1:])}
            for one, other, columns in zip(past, after, self.columns.values(), strict=True)
        ]
        return {
            "file": path.name,
            "input": self.input_name,
            "output": self.output_name,
            "states": states,
        }
