"""Gradients that stick out, held to what is usual for each tensor."""

import torch
from torch import Tensor

NOTHING = 1e-16


@torch.no_grad()
def clip_to_usual(optimizer: torch.optim.Optimizer, most: float) -> Tensor:
    """Scale each tensor's gradient to at most ``most`` times its usual norm; the norm before.

    The usual norm is what Adam's second moments remember, so that a tensor without a past is left
    alone. One norm for all tensors would let the one with the wildest gradient, in a codec the last
    layer's bias, decide how much of a batch the others learn (docs/log.md, 2026-11-25); a norm to
    each tensor is close to Wortsman et al. 2023, arXiv 2304.13013, algorithm 2, who slow the step
    down instead. Takes the parameters and moments of a ``torch.optim.AdamW``; returns the norm over
    all tensors, not finite where a gradient is not.
    """
    gradients: list[Tensor] = []
    moments: list[Tensor] = []
    remembered: list[Tensor] = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            gradients.append(parameter.grad)
            state = optimizer.state.get(parameter)
            past = state["step"] if state else parameter.grad.new_zeros(())
            moments.append(state["exp_avg_sq"] if state else past)
            remembered.append(1 - group["betas"][1] ** past)
    norms = torch.stack(torch._foreach_norm(gradients))
    squares = torch.stack(torch._foreach_norm(moments, 1))
    limits = most * (squares / torch.stack(remembered).to(squares)).sqrt()
    limits = limits.where(limits > 0, torch.inf)  # not so without a past, 0 / 0, either
    scales = (limits / norms.clamp(min=NOTHING)).clamp(max=1.0)
    torch._foreach_mul_(gradients, list(scales.unbind()))
    return norms.norm()
