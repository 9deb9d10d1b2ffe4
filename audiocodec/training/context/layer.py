"""Layers whose forward pass is the integer arithmetic of :mod:`audiocodec.tokens.context`.

Parameters are real numbers of ordinary size. A layer rounds them to the integers that are stored,
computes with these, and passes gradients as if nothing had been rounded (straight-through; Bengio
et al. 2013, arXiv 1308.3432). Integers are held in float32, in which all sums are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from audiocodec.tokens.context.layer import EXACT, MAX_SHIFT

INT8, INT16 = 127, 32_767


class _Replace(torch.autograd.Function):
    """The second tensor, with the gradient going to the first."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, replacement: Tensor) -> Tensor:
        return replacement

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def floor(values: Tensor) -> Tensor:
    """``values`` rounded down, with the gradient of ``values``."""
    return _Replace.apply(values, values.detach().floor())


def integers(parameter: Tensor, unit: float, limit: int) -> Tensor:
    """``parameter`` in integers of ``1 / unit``, at most ``limit`` on either side."""
    scaled = parameter * unit
    return _Replace.apply(scaled, scaled.detach().round().clamp(-limit, limit))


class IntegerLinear(nn.Module):
    """The layer that :class:`audiocodec.tokens.context.layer.Layer` reads.

    Args:
        units_in: how many integer steps 1.0 of each input is: ``[inputs]``.
        unit_out: the same of the outputs.
        bounds: greatest magnitude of each input, in integers, ``[inputs]``.
    """

    units_in: Tensor
    bounds: Tensor

    def __init__(self, units_in: Tensor, outputs: int, unit_out: float, bounds: Tensor) -> None:
        super().__init__()
        inputs = len(units_in)
        self.unit_out = unit_out
        self.register_buffer("units_in", units_in.float(), persistent=False)
        self.register_buffer("bounds", bounds.float(), persistent=False)
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.uniform_(self.weight, -(inputs**-0.5), inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def quantised(self) -> tuple[Tensor, Tensor]:
        """Weights in integer steps of ``2**-shift``, scaled by it, and integer biases."""
        weight = self.weight * (self.unit_out / self.units_in)
        with torch.no_grad():
            scale = torch.exp2(-self._shift(weight))[:, None]
            rounded = (weight / scale).round().clamp(-INT8, INT8) * scale
        return _Replace.apply(weight, rounded), integers(self.bias, self.unit_out, INT16)

    def _shift(self, weight: Tensor) -> Tensor:
        """The finest scale ``[outputs]`` of each row with weights of 8 bits and exact sums.

        A quarter of the range of sums is left to rounding and to the bias.
        """
        largest = weight.abs().amax(dim=1).clamp(min=1e-20)
        shift = torch.floor(torch.log2((INT8 + 0.49) / largest))
        sums = (weight.abs() @ self.bounds + (self.bias * self.unit_out).abs()).clamp(min=1e-20)
        return torch.minimum(shift, torch.floor(torch.log2(0.75 * EXACT / sums))).clamp(
            0, MAX_SHIFT
        )

    @torch.no_grad()
    def tensors(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """The three tensors that are stored."""
        weight, bias = self.quantised()
        shift = self._shift(self.weight * (self.unit_out / self.units_in))
        stored = (weight * torch.exp2(shift)[:, None]).round()
        return {
            f"{name}.weight": stored.cpu().numpy().astype(np.int8),
            f"{name}.shift": shift.cpu().numpy().astype(np.int8),
            f"{name}.bias": bias.round().cpu().numpy().astype(np.int16),
        }
