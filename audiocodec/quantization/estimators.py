"""How a gradient passes the quantiser, which has none of its own.

An estimator takes latents and their quantised values, both ``[B, D, F]``. It returns the quantised
values, bit for bit, with a gradient to the latents.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, latents: Tensor, quantized: Tensor) -> Tensor:
        return quantized.clone()

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(latents: Tensor, quantized: Tensor) -> Tensor:
    """``quantized``, bit for bit, with the gradient going to ``latents`` as if they were equal.

    Bengio et al. 2013, arXiv 1308.3432. Both of one shape, which is returned.
    """
    return _StraightThrough.apply(latents, quantized)


class _RotationTrick(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, latents: Tensor, quantized: Tensor) -> Tensor:
        context.save_for_backward(latents, quantized)
        return quantized.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        latents, quantized = context.saved_tensors
        (gradient,) = gradients
        latents_norm = latents.norm(dim=1, keepdim=True)
        quantized_norm = quantized.norm(dim=1, keepdim=True)
        start, end = latents / latents_norm, quantized / quantized_norm
        middle = start + end
        middle = middle / middle.norm(dim=1, keepdim=True)
        rotated = (
            gradient
            - 2 * middle * (middle * gradient).sum(dim=1, keepdim=True)
            + 2 * start * (end * gradient).sum(dim=1, keepdim=True)
        )
        rotated = rotated * (quantized_norm / latents_norm)
        # No rotation leads from or to a zero vector, and no single one to the opposite direction.
        there = rotated.isfinite().all(dim=1, keepdim=True)
        return torch.where(there, rotated, gradient), None


def rotation_trick(latents: Tensor, quantized: Tensor) -> Tensor:
    """``quantized`` with the gradient of ``s R latents``, the rotation and stretch that lead there.

    Fifty et al. 2024, arXiv 2410.06424, section 4.2: ``R = I - 2 r r^T + 2 q e^T``, of unit vectors
    ``e`` along a frame's latents, ``q`` along its quantised ones and ``r`` between them; ``s`` and
    ``R`` count as constants. Where there is no such rotation, as at zero, the gradient passes as
    :func:`straight_through` has it. Both ``[B, D, F]``.
    """
    return _RotationTrick.apply(latents, quantized)


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "straight_through": straight_through,
    "rotation_trick": rotation_trick,
}
