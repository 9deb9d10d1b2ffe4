"""The context model as a PyTorch module: computes, and learns, what ContextModel reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, cast

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from torch import Tensor, nn

from audiocodec.config import Config
from audiocodec.tokens.context.model import GATE, HIDDEN_LIMIT, STATE_STEPS, SUM_LIMIT
from audiocodec.training.context.layer import INT8, IntegerLinear, floor, integers
from audiocodec.training.context.loss import stage_loss
from audiocodec.training.context.recurrence import recurrence

SUM_UNIT, HIDDEN_UNIT, LOGIT_UNIT, GATE_SLOPE = 64.0, 32.0, 32.0, 0.25
"""Integer steps of 1.0 in embeddings, hidden units and logits (nats); slope of the gates."""
TABLE_NATS = 14
"""Logits further below the greatest one do not make a code less likely."""

Width = Annotated[int, pydantic.Field(ge=1, le=4096)]


class ContextConfig(Config):
    """The size of a context model."""

    dim: Width = pydantic.Field(48, description="dimensions of a code's embedding")
    state: Width = pydantic.Field(256, description="units of the memory")
    hidden: tuple[Width, ...] = pydantic.Field(
        (160,),
        min_length=1,
        description="hidden units of each stage's network; the last one holds for all later stages",
    )

    def hidden_units(self, stage: int) -> int:
        return self.hidden[min(stage, len(self.hidden) - 1)]


class ContextNetwork(nn.Module):
    """Computes the logits of codes by :class:`~audiocodec.tokens.context.ContextModel`'s formulas.

    Shapes: ``B`` rows, ``K`` stages, ``F`` frames, ``D`` embedding dim, ``H`` units of the memory.

    Args:
        sizes: entries of each codebook.
        entries: ``[size, D]`` of each stage, about one in size: the embeddings begin with them.
        fast: matrix products of the stages in bfloat16, which is several times faster on CPUs with
            AMX. The sums are then rounded, in training only.
    """

    def __init__(
        self,
        config: ContextConfig,
        sizes: Sequence[int],
        entries: Sequence[Tensor] | None = None,
        fast: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.sizes, self.fast = config, tuple(sizes), fast
        dim, width, count = config.dim, config.state, len(sizes)
        if entries is None:
            entries = [0.3 * torch.randn(size, dim) for size in sizes]
        self.embeddings = nn.ParameterList(nn.Parameter(table.clone()) for table in entries)
        self.start_sum = nn.Parameter(torch.zeros(count, dim))
        self.start_state = nn.Parameter(torch.zeros(count, width))
        units = torch.tensor([float(GATE)] * width + [SUM_UNIT] * dim)
        bounds = torch.tensor([GATE] * width + [SUM_LIMIT] * dim)
        self.memory = IntegerLinear(units, 3 * width, GATE, bounds)
        self.hidden = nn.ModuleList()
        self.logits = nn.ModuleList()
        for stage, size in enumerate(sizes):
            hidden = config.hidden_units(stage)
            self.hidden.append(IntegerLinear(units, hidden, HIDDEN_UNIT, bounds))
            inner = torch.full((hidden,), HIDDEN_UNIT), torch.full((hidden,), HIDDEN_LIMIT)
            self.logits.append(IntegerLinear(inner[0], size, LOGIT_UNIT, inner[1]))
        with torch.no_grad():
            self.memory.weight[: 2 * width] *= GATE_SLOPE
            self.memory.bias[: 2 * width] = 0.5

    def forward(self, codes: Tensor, num_codebooks: Tensor) -> Tensor:
        """Sum of ``-ln`` of the probability of each code, by stage: ``[K]``.

        Args:
            codes: int64 ``[B, K, F]``.
            num_codebooks: how many of its codes each row uses, int64 ``[B]``, falling.
        """
        used = [int((num_codebooks > k).sum()) for k in range(len(self.sizes))]
        losses = []
        for stage, inputs in enumerate(self._inputs(codes, num_codebooks, used)):
            count = used[stage]
            hidden, logits = (layer.quantised() for layer in self._layers(stage))
            chosen = codes[:count, stage].flatten()
            losses.append(stage_loss(inputs, hidden, logits, chosen, LOGIT_UNIT, self.fast))
        return torch.stack(losses)

    @torch.no_grad()
    def exact_logits(self, codes: Tensor) -> list[Tensor]:
        """The integer logits of all codes ``[B, K, F]``: ``[B, F, size]`` for each stage."""
        rows, count, frames = codes.shape
        found = []
        inputs = self._inputs(codes, torch.full((rows,), count), [rows] * count)
        for stage, values in enumerate(inputs):
            for layer, limit in zip(self._layers(stage), (HIDDEN_LIMIT, None), strict=True):
                weight, bias = layer.quantised()
                values = floor(values @ weight.T) + bias
                values = values if limit is None else values.clamp(0, limit)
            found.append(values.unflatten(0, (rows, frames)))
        return found

    def _inputs(self, codes: Tensor, num_codebooks: Tensor, used: list[int]) -> list[Tensor]:
        """Inputs of the stages' networks: ``[n F, H + D]`` for the first ``n = used[k]`` rows."""
        sums, total = self._sums(codes, num_codebooks, used)
        seen = floor(self._states(total, num_codebooks) / STATE_STEPS)
        return [
            torch.cat([seen[:count], _clipped(before[:count])], dim=2).flatten(0, 1)
            for before, count in zip(sums, used, strict=False)
        ]

    def _layers(self, stage: int) -> tuple[IntegerLinear, IntegerLinear]:
        return cast(IntegerLinear, self.hidden[stage]), cast(IntegerLinear, self.logits[stage])

    def _sums(
        self, codes: Tensor, num_codebooks: Tensor, used: list[int]
    ) -> tuple[list[Tensor], Tensor]:
        """Sums of embeddings ``[B, F, D]`` before each stage, and of the whole frame."""
        starts = integers(self.start_sum, SUM_UNIT, INT8)[num_codebooks - 1]
        total = starts[:, None].expand(-1, codes.shape[2], -1)
        sums = []
        for stage, count in enumerate(used):
            if not count:
                break
            sums.append(total)
            table = integers(self.embeddings[stage], SUM_UNIT, INT8)
            more = total[:count] + nn.functional.embedding(codes[:count, stage], table)
            total = more if count == len(codes) else torch.cat([more, total[count:]])
        return sums, total

    def _states(self, total: Tensor, num_codebooks: Tensor) -> Tensor:
        """The memory's state before each frame: ``[B, F, H]``."""
        width = self.config.state
        weight, bias = self.memory.quantised()
        inputs = _clipped(total).transpose(0, 1) @ weight[:, width:].T + bias
        limit = GATE * STATE_STEPS
        start = integers(self.start_state, limit, limit)[num_codebooks - 1]
        return recurrence(inputs, weight[:, :width], start).transpose(0, 1)

    @torch.no_grad()
    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The content of ``context.safetensors``."""
        falls = np.exp(-np.arange(TABLE_NATS * int(LOGIT_UNIT)) / LOGIT_UNIT)
        limit = GATE * STATE_STEPS
        tensors: dict[str, npt.NDArray[Any]] = {
            "table": np.round(2**20 * falls).astype(np.int32),
            "start.sum": _stored(integers(self.start_sum, SUM_UNIT, INT8), np.int8),
            "start.state": _stored(integers(self.start_state, limit, limit), np.int16),
            **self.memory.tensors("memory"),
        }
        for stage, embedding in enumerate(self.embeddings):
            name = f"stages.{stage}"
            table = integers(embedding, SUM_UNIT, INT8)
            tensors[f"{name}.embedding"] = _stored(table, np.int8)
            hidden, logits = self._layers(stage)
            tensors |= hidden.tensors(f"{name}.hidden") | logits.tensors(f"{name}.logits")
        return tensors


def _clipped(total: Tensor) -> Tensor:
    return total.clamp(-SUM_LIMIT, SUM_LIMIT)


def _stored(values: Tensor, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return values.round().cpu().numpy().astype(dtype)
