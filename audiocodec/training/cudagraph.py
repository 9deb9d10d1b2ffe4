"""A training step as a CUDA graph.

A step is thousands of kernels, most of them small, and Python starts them one by one. Recorded once
as a CUDA graph, they start with one call (docs/performance.md).
"""

import sys
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from audiocodec.training.memory import is_out_of_memory

WARM_UP_CALLS = 3
"""Calls before the recording, in which libraries choose kernels and state is created."""

MAX_GRAPHS = 64
"""Variants of a step that are recorded. Others run kernel by kernel."""

Function = Callable[..., dict[str, Tensor]]


class Graphs:
    """Functions as CUDA graphs, one for each variant. They share memory: one runs at a time."""

    def __init__(self) -> None:
        self.by_variant: dict[Hashable, CUDAGraphStep] = {}
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None

    def of(self, variant: Hashable, function: Function) -> Function:
        """``function`` of one variant, which is to be called instead of it from now on."""
        if variant not in self.by_variant and len(self.by_variant) < MAX_GRAPHS:
            if self._pool is None:
                self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()
            self.by_variant[variant] = CUDAGraphStep(function, self._pool, self._stream)
        return self.by_variant.get(variant, function)

    def clear(self) -> None:
        """Forget all of them and their memory: the tensors they hold are no longer in use."""
        self.by_variant.clear()
        self._pool = None


class CUDAGraphStep:
    """``function`` of tensors on a GPU, recorded at its fourth call and replayed from then on.

    At every call the function must do the same to the same tensors and read no tensor's value. It
    returns scalars by name; they are valid until the next call. Inputs keep their shapes. If the
    function cannot be recorded, a line on stderr says why, and it runs kernel by kernel.

    Args:
        pool: memory that graphs share of which no two run at the same time, and which leave nothing
            in it for one another.
        stream: on which the function is recorded; by default one of its own.
    """

    def __init__(
        self, function: Function, pool: Any = None, stream: torch.cuda.Stream | None = None
    ) -> None:
        self.function = function
        self._pool = pool
        self.recorded = False
        self._calls = 0
        self._stream = torch.cuda.Stream() if stream is None else stream
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: dict[str, Tensor] = {}

    def __call__(self, *inputs: Tensor) -> dict[str, Tensor]:
        self._calls += 1
        if self._calls == WARM_UP_CALLS + 1:
            self._record(inputs)
        if self._graph is None:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                outputs = self.function(*inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            return outputs
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._outputs

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        """Record the graph. Nothing is computed until it is replayed."""
        self._inputs = [given.clone() for given in inputs]
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                self._outputs = self.function(*self._inputs)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            reason = (str(error).splitlines() or [""])[0]
            print(f"no CUDA graph, steps run kernel by kernel: {reason}", file=sys.stderr)
            return
        self._graph = graph
        self.recorded = True
