"""Activations by name. Most have no parameters; Snake has one for each channel."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.1),  # no lambda: it would not pickle
    "elu": F.elu,
    "silu": F.silu,
}

SNAKE = "snake"


class Snake(nn.Module):
    """``x + sin(a x)^2 / a`` with a learned ``a`` for each channel, 1 at first: ``[B, C, T]``.

    It is periodic and monotonic, so that a network can continue a pitch (Ziyin et al. 2020, arXiv
    2006.08195, equation 3; in codecs Kumar et al. 2023, arXiv 2306.06546).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.alpha * x).sin().square() / (self.alpha + 1e-9)


def make_activation(name: str, channels: int) -> Callable[[Tensor], Tensor]:
    """The activation called ``name``, for ``channels``; a module if it has parameters."""
    return Snake(channels) if name == SNAKE else ACTIVATIONS[name]
