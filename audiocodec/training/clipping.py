"""Gradient clipping relative to the usual norm of each tensor's gradient."""

import torch
from torch import Tensor

MIN_NORM = 1e-16


@torch.no_grad()
def clip_to_usual(optimizer: torch.optim.Optimizer, most: float) -> Tensor:
    """Scale each tensor's gradient to at most ``most`` times its usual norm.

    The usual norm is the square root of the sum of Adam's second moments; a tensor without moments
    is not clipped. With one norm for all tensors, the tensor with the most irregular gradient, in a
    codec the last layer's bias, would decide how much the others learn (docs/log.md, 2026-11-25).
    A norm for each tensor is close to algorithm 2 of Wortsman et al. 2023, arXiv 2304.13013, which
    lowers the learning rate instead.

    Args:
        optimizer: a ``torch.optim.AdamW``, whose parameters have gradients.
        most: a multiple of the usual norm.

    Returns:
        The norm of all gradients together before clipping; not finite if a gradient is not.
    """
    gradients: list[Tensor] = []
    moments: list[Tensor] = []
    powers: list[Tensor] = []
    for group in optimizer.param_groups:
        steps: list[Tensor] = []
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            gradients.append(parameter.grad)
            state = optimizer.state.get(parameter)
            steps.append(state["step"] if state else parameter.grad.new_zeros(()))
            moments.append(state["exp_avg_sq"] if state else steps[-1])
        if steps:
            powers += torch._foreach_pow(group["betas"][1], steps)
    norms = torch.stack(torch._foreach_norm(gradients))
    squares = torch.stack(torch._foreach_norm(moments, 1))
    corrections = 1 - torch.stack(powers)
    limits = most * (squares / corrections.to(squares)).sqrt()
    limits = limits.where(limits > 0, torch.inf)  # without moments: 0, or NaN as 0 / 0
    scales = (limits / norms.clamp(min=MIN_NORM)).clamp(max=1.0)
    torch._foreach_mul_(gradients, list(scales.unbind()))
    return norms.norm()
