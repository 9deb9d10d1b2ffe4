"""Which entries of a codebook are in use, and data for those that are not.

Dead entries are reset after the statistics of a step have been taken, so that nothing in that step
overwrites them, and with the count of an entry in even use, so that they have time to win vectors.

Shapes: ``N`` vectors, ``d`` = the codebook's ``dim``.
"""

import torch
from torch import Tensor, nn


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
        """Count ``codes [N]``; returns how often each entry is among them, float ``[size]``."""
        seen = torch.bincount(codes, minlength=self.size).to(self.counts)
        self.counts.lerp_(seen * (self.size / len(codes)), 1 - self.decay)
        return seen

    @torch.no_grad()
    def reset_dead(self, vectors: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Entries that are dead, ``[n]``, and a vector for each, ``[n, d]``: those two of one step.

        The draw depends on the batch alone, so that a resumed run draws alike. Entries chosen in
        this very step live, whatever their average.
        """
        dying = self.counts < self.threshold
        dying[codes] = False
        dead = dying.nonzero().squeeze(1)[: len(vectors)]
        generator = torch.Generator().manual_seed(int(codes.sum()))
        picks = torch.randperm(len(vectors), generator=generator)[: len(dead)]
        self.counts[dead] = 1
        return dead, vectors[picks.to(vectors.device)]
