"""The scale of the latents, which keeps them in step with their codebooks."""

import torch
from torch import Tensor, nn

from audiocodec import ranks


class RunningScale(nn.Module):
    """Divides by one number, the running root-mean-square of what passes in training.

    Straight-through gradients push latents outwards and tables follow slowly, so without this the
    latents outgrow their codebooks. The gradient is that of a division by the batch's own
    root-mean-square, which has no component along "the same latents, larger". The value is the same
    in training and in use. It is one number for all channels and frames, so that no information is
    lost. The batch is that of all ranks.
    """

    rms: Tensor

    def __init__(self, momentum: float = 0.01) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("rms", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and torch.is_grad_enabled()):
            return x / self.rms
        seen = (ranks.mean(x.square().mean()) + 1e-8).sqrt()
        with torch.no_grad():
            self.rms.lerp_(torch.where(seen.isfinite(), seen, self.rms), self.momentum)
        # The value of x / rms with the gradient of x / seen.
        return x * (seen.detach() / self.rms / seen)
