"""The memory's recurrence over the frames of a segment, with its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audiocodec.tokens.context.model import CARRIED_LIMIT, GATE, STATE_STEPS


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, start: Tensor) -> Tensor:
        frames, _, width = len(inputs), *start.shape
        states = torch.empty(frames, *start.shape)
        states[0] = start
        sums = inputs.clone()  # becomes the gates and the candidate
        sums[:, :, 2 * width :].floor_()
        carried = torch.empty_like(states)
        recurrent = weight.T.contiguous()
        for frame in range(frames - 1):
            state = states[frame]
            products = (state / STATE_STEPS).floor_() @ recurrent
            gates = sums[frame, :, : 2 * width].add_(products[:, : 2 * width]).floor_()
            gates.clamp_(0, GATE)
            torch.clamp(
                products[:, 2 * width :].floor_(), -CARRIED_LIMIT, CARRIED_LIMIT, out=carried[frame]
            )
            candidate = sums[frame, :, 2 * width :]
            candidate += (gates[:, width:] * carried[frame]).div_(GATE).floor_()
            candidate.clamp_(-GATE, GATE)
            step = candidate.mul(STATE_STEPS).sub_(state).mul_(gates[:, :width])
            torch.add(state, step.div_(GATE).floor_(), out=states[frame + 1])
        ctx.save_for_backward(states, sums, carried, weight)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, sums, carried, weight = ctx.saved_tensors
        frames, _, width = states.shape
        to_states, to_sums = gradients[0], torch.zeros_like(sums)
        updates, resets, candidates = sums.split(width, dim=2)
        inside = torch.cat(
            [
                (updates > 0) & (updates < GATE),
                (resets > 0) & (resets < GATE),
                candidates.abs() < GATE,
            ],
            dim=2,
        ).float()
        carries = resets * (carried.abs() < CARRIED_LIMIT) / GATE
        returned = torch.zeros_like(sums)  # gradient of the products with the state
        later = to_states[-1]
        for frame in reversed(range(frames - 1)):
            state, update, candidate = states[frame], updates[frame], candidates[frame]
            gradient, scaled = to_sums[frame], later / GATE
            passed = scaled * update
            through = passed * STATE_STEPS
            torch.mul(candidate * STATE_STEPS - state, scaled, out=gradient[:, :width])
            gradient[:, 2 * width :] = through
            gradient[:, width : 2 * width] = (
                through * inside[frame, :, 2 * width :] * carried[frame] / GATE
            )
            gradient *= inside[frame]
            back = returned[frame]
            back[:, : 2 * width] = gradient[:, : 2 * width]
            torch.mul(gradient[:, 2 * width :], carries[frame], out=back[:, 2 * width :])
            later = to_states[frame] + later - passed
            later.addmm_(back, weight, alpha=1 / STATE_STEPS)
        seen = (states / STATE_STEPS).floor_()
        return to_sums, returned.flatten(0, 1).T @ seen.flatten(0, 1), later


def recurrence(inputs: Tensor, weight: Tensor, start: Tensor) -> Tensor:
    """The memory's state before each frame, ``[F, B, H]``.

    :meth:`audiocodec.tokens.context.ContextModel.remember` frame by frame. Roundings pass gradients
    as if they were not there.

    Args:
        inputs: what each frame and the biases add to the sums, ``[F, B, 3 H]``.
        weight: for what the layer sees of the state, ``[3 H, H]``.
        start: the state before the first frame, ``[B, H]``.
    """
    return _Recurrence.apply(inputs, weight, start)
