"""Residual units, and chains of them at one level."""

from torch import Tensor, nn

from audiocodec.modules.activations import SNAKE, make_activation
from audiocodec.modules.conv import CausalConv1d, StreamState
from audiocodec.modules.shape import SEANetConfig

RESIDUAL_GAIN = 0.05
"""Level of a fresh residual unit relative to the signal that it is added to."""


class ResidualUnit(nn.Module):
    """Activation, dilated convolution, activation, pointwise convolution, added to the input.

    ``[B, C, T]`` -> ``[B, C, T]``.
    """

    def __init__(self, channels: int, kernel_size: int, dilation: int, activation: str) -> None:
        super().__init__()
        self.first_activation = make_activation(activation, channels)
        self.second_activation = make_activation(activation, channels)
        self.dilated = CausalConv1d(channels, channels, kernel_size, dilation=dilation)
        self.pointwise = CausalConv1d(channels, channels, 1, gain=RESIDUAL_GAIN)

    def forward(self, x: Tensor, state: StreamState | None = None) -> Tensor:
        hidden = self.dilated(self.first_activation(x), state)
        return x + self.pointwise(self.second_activation(hidden), state)


class Chain(nn.ModuleList):
    """Layers one after the other: ``[B, C, T]`` -> ``[B, C, T]``."""

    def forward(self, x: Tensor, state: StreamState | None = None) -> Tensor:
        for layer in self:
            x = layer(x, state)
        return x


def residual_units(config: SEANetConfig, level: int) -> Chain:
    """The units of one level of a network of this shape."""
    return Chain(
        ResidualUnit(
            config.channels[level],
            config.residual_kernel_size,
            config.dilation_base ** (unit % config.dilation_cycle),
            SNAKE if level in config.snake_levels else config.activation,
        )
        for unit in range(config.residual_units[level])
    )
