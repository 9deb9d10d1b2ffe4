"""The discriminators of adversarial training: multi-scale STFT and multi-period.

Each discriminator maps audio ``[B, 1, T]`` to the outputs of its layers; the last are its logits.
Multi-scale STFT: Defossez et al. 2022, arXiv 2210.13438. Multi-period: Kong et al. 2020,
arXiv 2010.05646. Both are narrower here, so that a discriminator costs about what the codec costs.
"""

from itertools import pairwise
from typing import Annotated

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from audiocodec.config import Config
from audiocodec.modules.seanet import SPEECH_LEVEL
from audiocodec.spectral import stft

Positive = Annotated[int, pydantic.Field(ge=1, le=10**9)]
Channels = Annotated[int, pydantic.Field(ge=1, le=4096)]

FeatureMaps = list[list[Tensor]]
"""For each discriminator the outputs of its layers, from the first to the logits."""

COMPRESSION = 0.3
"""Exponent that compresses the magnitudes given to an STFT discriminator; phases are kept."""

EDGE_BINS = 2
"""Bins next to 0 Hz and to half the sample rate that are left out. An inaudible offset there
distinguishes real from fake, and its gradient would outweigh all others (docs/log.md,
2026-11-24)."""


class DiscriminatorConfig(Config):
    """Which discriminators there are, their widths, and when they are used."""

    start_step: Annotated[int, pydantic.Field(ge=0, le=10**9)] = pydantic.Field(
        description="first step with adversarial losses"
    )
    ramp_steps: Positive = pydantic.Field(1000, description="over which their weight rises to full")
    update_every: Positive = pydantic.Field(2, description="steps from one update to the next")
    per_step: Positive | None = pydantic.Field(
        None,
        description="discriminators used in a step, in turn, spread over them; null: all",
    )
    shared_pass: bool = pydantic.Field(
        False,
        description="in steps that update the discriminators, the codec learns from them as they "
        "are before that: one pass over reference and reconstruction serves both",
    )
    learning_rate: Annotated[float, pydantic.Field(gt=0, le=1)] = 3e-4
    stft_windows: tuple[Annotated[int, pydantic.Field(ge=16, le=65_536)], ...] = (1024, 512, 256)
    stft_channels: Channels = 16
    periods: tuple[Annotated[int, pydantic.Field(ge=2, le=1000)], ...] = (2, 3, 5, 7, 11)
    period_channels: Annotated[tuple[Channels, ...], pydantic.Field(min_length=1)] = (8, 16, 32, 64)

    @pydantic.model_validator(mode="after")
    def _at_least_one(self) -> "DiscriminatorConfig":
        if not self.stft_windows and not self.periods:
            raise ValueError("`stft_windows` and `periods` are both empty; give one of them")
        return self


class STFTDiscriminator(nn.Module):
    """2-D convolutions over the complex spectrum of one window length."""

    def __init__(self, window_length: int, channels: int) -> None:
        super().__init__()
        self.window_length = window_length

        def conv(inputs: int, dilation: int, stride: int) -> nn.Module:
            return weight_norm(
                nn.Conv2d(
                    inputs,
                    channels,
                    (3, 5),
                    stride=(1, stride),
                    dilation=(dilation, 1),
                    padding=(dilation, 2),
                )
            )

        self.layers = nn.ModuleList(
            [conv(2, 1, 2), conv(channels, 1, 2), conv(channels, 2, 2), conv(channels, 4, 1)]
        )
        self.output = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, audio: Tensor) -> list[Tensor]:
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = stft(audio.squeeze(1), self.window_length, self.window_length // 4)
            # White noise has the same magnitude at every window length. Compression makes weak
            # harmonics and high frequencies count as well as strong ones.
            spectrum = spectrum / self.window_length**0.5
            power = spectrum.real.square() + spectrum.imag.square() + 1e-5
            spectrum = (spectrum * power ** ((COMPRESSION - 1) / 2))[:, EDGE_BINS:-EDGE_BINS]
            x = torch.stack([spectrum.real, spectrum.imag], dim=1).transpose(2, 3)
        return _layer_outputs(x, self.layers, self.output)


class PeriodDiscriminator(nn.Module):
    """2-D convolutions over the signal in rows of one period: columns hold every n-th sample."""

    def __init__(self, period: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.period = period
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(inputs, outputs, (5, 1), stride=(3, 1), padding=(2, 0)))
            for inputs, outputs in pairwise((1, *channels))
        )
        self.output = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, audio: Tensor) -> list[Tensor]:
        padded = F.pad(audio, (0, -audio.shape[-1] % self.period))
        x = padded.reshape(audio.shape[0], 1, -1, self.period) / SPEECH_LEVEL
        return _layer_outputs(x, self.layers, self.output)


class Discriminators(nn.Module):
    """Audio ``[B, 1, T]`` -> feature maps of the discriminators named, or of all of them."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.networks = nn.ModuleDict()
        for window in config.stft_windows:
            self.networks[f"stft_{window}"] = STFTDiscriminator(window, config.stft_channels)
        for period in config.periods:
            self.networks[f"period_{period}"] = PeriodDiscriminator(period, config.period_channels)

    def forward(self, audio: Tensor, names: tuple[str, ...] | None = None) -> FeatureMaps:
        return [self.networks[name](audio) for name in names or self.networks]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all discriminators."""
        return tuple(self.networks)

    def load_known(self, tensors: dict[str, Tensor]) -> list[str]:
        """Load those discriminators that ``tensors``, a state dict, holds in the same shape.

        Returns the names of the others, which are left unchanged.
        """
        new = []
        for name, network in self.networks.items():
            own = network.state_dict()
            found = {key: tensors.get(f"networks.{name}.{key}") for key in own}
            known = {
                key: value
                for key, value in found.items()
                if value is not None and value.shape == own[key].shape
            }
            if len(known) == len(own):
                network.load_state_dict(known)
            else:
                new.append(name)
        return new


def both_maps(maps: FeatureMaps) -> tuple[FeatureMaps, FeatureMaps]:
    """The maps of the first and of the second half of a batch."""
    halves = [[layer.chunk(2) for layer in layers] for layers in maps]
    first, second = ([[half[n] for half in layers] for layers in halves] for n in (0, 1))
    return first, second


def _layer_outputs(x: Tensor, layers: nn.ModuleList, output: nn.Module) -> list[Tensor]:
    outputs = []
    for layer in layers:
        x = F.leaky_relu(layer(x), 0.2)
        outputs.append(x)
    return [*outputs, output(x)]
