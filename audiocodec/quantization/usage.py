"""Which entries of a codebook are in use, and data for those that are not.

Dead entries are reset after the statistics of a step have been taken, so that nothing in that step
overwrites them, and with the count of an entry in even use, so that they have time to win vectors.
Codes and vectors of all ranks count, so that each rank does the same.

Shapes: ``N`` vectors, ``d`` = the codebook's ``dim``.
"""

import torch
from torch import Tensor, nn

from audiocodec import ranks


class EntryUsage(nn.Module):
    """A moving average of how often each entry is chosen; 1 is an even share, for any batch."""

    counts: Tensor

    def __init__(self, size: int, decay: float, threshold: float) -> None:
        """``threshold``: an entry is dead when its average falls below this; 0 lets none die."""
        super().__init__()
        self.size = size
        self.decay = decay
        self.threshold = threshold
        self.register_buffer("counts", torch.ones(size))

    def restart(self) -> None:
        """Forget everything: all entries are in even use."""
        self.counts.fill_(1)

    @torch.no_grad()
    def add(self, codes: Tensor) -> Tensor:
        """Count ``codes [N]``; returns how often each entry is among them, int64 ``[size]``."""
        seen = ranks.total(torch.bincount(codes, minlength=self.size))
        share = seen.to(self.counts) * (self.size / int(seen.sum()))
        self.counts.lerp_(share, 1 - self.decay)
        return seen

    @torch.no_grad()
    def reset_dead(self, vectors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Entries that are dead, ``[n]``, and one of the step's ``vectors [N, d]`` for each.

        The draw depends on the batch alone, so that a resumed run draws alike. Entries chosen in
        this very step live, whatever their average: ``seen`` is what :meth:`add` returned for it.
        """
        count = int(seen.sum())
        dead = ((self.counts < self.threshold) & (seen == 0)).nonzero().squeeze(1)[:count]
        if not len(dead):
            return dead, vectors[:0]
        sum_of_codes = int((seen * torch.arange(self.size, device=seen.device)).sum())
        generator = torch.Generator().manual_seed(sum_of_codes)
        picks = torch.randperm(count, generator=generator)[: len(dead)]
        self.counts[dead] = 1
        return dead, ranks.rows(vectors, picks.to(vectors.device))
