"""Optimisers, their learning rates, steps that are taken only if finite, and averaged weights."""

import copy

import torch
from torch import Tensor, nn

from audiocodec.codec import Codec
from audiocodec.training.discriminators import DiscriminatorConfig
from audiocodec.training.recipe import OptimizerConfig


def codec_optimizer(codec: Codec, settings: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW with two groups: the network, and the quantiser, which has no weight decay."""
    network = [*codec.encoder.parameters(), *codec.decoder.parameters()]
    return torch.optim.AdamW(
        [
            {"params": network, "weight_decay": settings.weight_decay},
            {"params": list(codec.quantizer.parameters()), "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=True,
        capturable=codec.device.type == "cuda",
    )


def discriminator_optimizer(
    discriminators: nn.Module,
    config: DiscriminatorConfig,
    settings: OptimizerConfig,
    device: torch.device,
) -> torch.optim.AdamW:
    """AdamW with the codec's betas, at the discriminators' own constant learning rate."""
    return torch.optim.AdamW(
        discriminators.parameters(),
        lr=config.learning_rate,
        betas=settings.betas,
        weight_decay=0.0,
        fused=True,
        capturable=device.type == "cuda",
    )


def set_learning_rates(
    optimizer: torch.optim.AdamW, rates: tuple[float, ...], device: torch.device
) -> None:
    """Set one rate for each group. On a GPU it is a tensor, which a recorded step reads."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if device.type != "cuda":
            group["lr"] = rate
        elif isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = torch.tensor(rate, device=device)


def step_if(optimizer: torch.optim.AdamW, finite: Tensor) -> None:
    """``optimizer.step()`` if ``finite``, a boolean scalar; otherwise weights and state stay.

    No value is read from the GPU: a fused optimiser has the flag ``found_inf``, which
    ``torch.amp.GradScaler`` uses, too.
    """
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    optimizer.step()


def clear_state(optimizer: torch.optim.AdamW, module: nn.Module) -> None:
    """Set the moments of ``module``'s parameters to 0, in place: a recorded step holds them."""
    for parameter in module.parameters():
        for value in optimizer.state.get(parameter, {}).values():
            value.zero_()


class WeightAverage:
    """An exponential moving average of a codec's weights and buffers (EMA)."""

    def __init__(self, codec: Codec, decay: float, name: str) -> None:
        self.decay = decay
        self.codec = copy.deepcopy(codec).requires_grad_(False)
        self.codec.name = name
        self._source = codec
        self._averages, self._values = (
            [value for value in module.state_dict().values() if value.is_floating_point()]
            for module in (self.codec, codec)
        )

    @torch.no_grad()
    def update(self, steps: float = 1.0) -> None:
        """Move the average towards the current weights, as far as so many steps do."""
        torch._foreach_lerp_(self._averages, self._values, 1 - self.decay**steps)

    def reset(self) -> None:
        """Make the average equal to the current weights."""
        self.codec.load_state_dict(self._source.state_dict())
