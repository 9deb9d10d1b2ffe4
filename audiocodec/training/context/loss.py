"""Cross-entropy of a stage's codes, through its two layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audiocodec.tokens.context.model import HIDDEN_LIMIT

PIECE = 512
"""Rows whose logits are in memory at a time: they stay in a core's cache."""

Weights = tuple[Tensor, Tensor]
"""Weight ``[outputs, inputs]`` and bias ``[outputs]`` of a layer: ``IntegerLinear.quantised``."""


class _StageLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        last_weight: Tensor,
        last_bias: Tensor,
        codes: Tensor,
        unit: float,
        fast: bool,
    ) -> Tensor:
        dtype = torch.bfloat16 if fast else torch.float32
        inputs, first, last = inputs.to(dtype), weight.to(dtype), (last_weight / unit).to(dtype)
        to_inputs = torch.empty_like(inputs)
        to_weight, to_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        to_last, to_last_bias = torch.zeros_like(last_weight), torch.zeros_like(last_bias)
        ones = torch.ones(1, PIECE, dtype=dtype)
        nats = (last_bias / unit).to(dtype)
        total = 0.0
        for start in range(0, len(inputs), PIECE):
            piece = slice(start, start + PIECE)
            x, target = inputs[piece], codes[piece, None]
            sums = (x @ first.T).float().floor_().add_(bias)
            inside = (sums > 0) & (sums < HIDDEN_LIMIT)
            hidden = sums.clamp_(0, HIDDEN_LIMIT).to(dtype)
            if fast:
                logits = torch.addmm(nats, hidden, last.T)
            else:
                logits = (hidden @ last.T).mul_(unit).floor_().add_(last_bias).div_(unit)
            shares = logits.softmax(dim=1)
            chosen = shares.gather(1, target)
            total -= float(chosen.double().clamp(min=1e-30).log().sum())
            shares.scatter_add_(1, target, torch.full_like(chosen, -1))
            to_last += shares.T @ hidden
            to_last_bias += (ones[:, : len(x)] @ shares)[0]
            gradient = (shares @ last) * inside
            to_weight += gradient.T @ x
            to_bias += gradient.sum(dim=0, dtype=torch.float32)
            to_inputs[piece] = gradient @ first
        to_last, to_last_bias = to_last / unit, to_last_bias / unit
        ctx.save_for_backward(to_inputs.float(), to_weight, to_bias, to_last, to_last_bias)
        return torch.tensor(total)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (*(saved * gradients[0] for saved in ctx.saved_tensors), None, None, None)


def stage_loss(
    inputs: Tensor, hidden: Weights, logits: Weights, codes: Tensor, unit: float, fast: bool
) -> Tensor:
    """Sum over rows of ``-ln`` of the probability of ``codes``.

    The logits ``[N, size]`` never exist as a whole: gradients are computed in the forward pass.

    Args:
        inputs: of the hidden layer, ``[N, inputs]``.
        codes: int64 ``[N]``.
        unit: how many steps of a logit are 1 nat.
        fast: products in bfloat16, their sums rounded to 8 bits: for training. Otherwise the
            arithmetic is exact.
    """
    return _StageLoss.apply(inputs, *hidden, *logits, codes, unit, fast)
