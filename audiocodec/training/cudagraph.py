"""A step that a GPU repeats without being told every kernel anew.

A training step is thousands of kernels, most of them small, that Python starts one by one. Recorded
once as a CUDA graph, all of them start with one call (docs/performance.md).
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP_CALLS = 3
"""Calls before the recording: libraries choose their kernels, and state comes into being."""


class CUDAGraphStep:
    """``function`` of tensors on a GPU, recorded at its fourth call and replayed from then on.

    The function must do the same to the same tensors at every call, ask no tensor for its value,
    and leave its results in tensors that live on; it returns nothing. Inputs keep their shapes. If
    it cannot be recorded, that is said once on stderr and it runs call by call.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.recorded = False
        self._calls = 0
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []

    def __call__(self, *inputs: Tensor) -> None:
        self._calls += 1
        if self._calls == WARM_UP_CALLS + 1:
            self._record(inputs)
        if self._graph is None:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self.function(*inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            return
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given, non_blocking=True)
        self._graph.replay()

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        """Nothing is computed by this: the first replay does it."""
        self._inputs = [given.clone() for given in inputs]
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self.function(*self._inputs)
        except RuntimeError as error:
            reason = (str(error).splitlines() or [""])[0]
            print(f"steps run kernel by kernel, no graph of them: {reason}", file=sys.stderr)
            return
        self._graph = graph
        self.recorded = True
