"""Statistics of all ranks together: of a batch, and of what a codebook learns without a gradient.

The ranks are the processes that train copies of one model on parts of a batch: those of
``torch.distributed``'s default process group, as for ``torch.nn.SyncBatchNorm``. Every rank must
call these functions equally often. Without a process group nothing is sent, and what comes back is
what went in.
"""

from typing import Any

import torch
from torch import Tensor, distributed


def world_size() -> int:
    """The number of ranks; 1 without a process group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def total(values: Tensor) -> Tensor:
    """The sum of all ranks' ``values``, of one shape. It is the same, bit for bit, on each rank."""
    return _reduced(values, distributed.ReduceOp.SUM) if world_size() > 1 else values


def most(values: Tensor) -> Tensor:
    """The greatest of all ranks' ``values``, element by element."""
    return _reduced(values, distributed.ReduceOp.MAX) if world_size() > 1 else values


def least(values: Tensor) -> Tensor:
    """The smallest of all ranks' ``values``, element by element."""
    return _reduced(values, distributed.ReduceOp.MIN) if world_size() > 1 else values


def mean(values: Tensor) -> Tensor:
    """The mean of all ranks' ``values``; differentiable, towards the values of each rank."""
    return _mean_of_ranks(values) if world_size() > 1 else values


def rows(vectors: Tensor, picks: Tensor) -> Tensor:
    """Rows ``picks [n]`` of all ranks' vectors ``[N, d]``, the first rank's first: ``[n, d]``.

    ``N`` may differ from rank to rank; ``picks`` may not.
    """
    if world_size() == 1:
        return vectors[picks]
    rank = distributed.get_rank()
    lengths = torch.zeros(world_size(), dtype=torch.int64, device=vectors.device)
    lengths[rank] = len(vectors)
    lengths = total(lengths)
    own = picks - lengths[:rank].sum()
    here = (own >= 0) & (own < len(vectors))
    found = vectors.new_zeros(len(picks), vectors.shape[1])
    found[here] = vectors[own[here]]
    return total(found)


@torch.compiler.disable
def _mean_of_ranks(values: Tensor) -> Tensor:
    result: Tensor = _Mean.apply(values)
    return result


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        return total(values) / world_size()

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        """Each rank's loss depends on every rank's values; gradients are averaged later."""
        return total(gradients[0]) / world_size()


def _reduced(values: Tensor, operation: distributed.ReduceOp.RedOpType) -> Tensor:
    values = values.detach().clone()
    distributed.all_reduce(values, operation)
    return values
