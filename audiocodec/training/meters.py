"""Numbers that stay on their device from step to step until they are read."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def kept(tensor: Tensor | None, value: Tensor) -> Tensor:
    """``value`` in ``tensor``, which a recorded step of a GPU writes to; a new one at first."""
    if tensor is None or tensor.shape != value.shape:
        return value.detach().clone()
    return tensor.copy_(value.detach())


class UsageMeter:
    """Counts how often each entry of each codebook is chosen."""

    def __init__(self, sizes: Sequence[int], device: torch.device) -> None:
        self.sizes = sizes
        self.counts = torch.zeros(len(sizes), max(sizes), dtype=torch.long, device=device)

    def add(self, codes: Tensor, valid: Tensor) -> None:
        """Count codes ``[B, K, F]`` if ``valid``, a boolean scalar."""
        stages = torch.arange(codes.shape[1], device=codes.device).unsqueeze(1)
        indices = (codes + stages * self.counts.shape[1]).flatten()
        self.counts.view(-1).index_add_(0, indices, valid.to(torch.long).expand(len(indices)))

    @property
    def enough(self) -> bool:
        """Whether at least as many codes as entries were counted for every codebook."""
        counted = self.counts.sum(dim=1).tolist()
        return all(n >= size for n, size in zip(counted, self.sizes, strict=True))

    def read(self) -> tuple[list[float], list[float]]:
        """Usage (share of entries) and perplexity of each codebook since the last call."""
        shares = self.counts / self.counts.sum(dim=1, keepdim=True).clamp(min=1)
        perplexity = torch.exp(torch.special.entr(shares).sum(dim=1)).tolist()
        used = (self.counts > 0).sum(dim=1).tolist()
        self.counts.zero_()
        return [n / size for n, size in zip(used, self.sizes, strict=True)], perplexity


class MeanMeter:
    """Means of named scalars."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], Tensor] = {}

    def add(self, values: Mapping[str, Tensor], valid: Tensor) -> None:
        """Add scalars if ``valid``, a boolean scalar; names may differ from call to call."""
        names = tuple(values)
        numbers = torch.stack([valid, *(value.detach().float() for value in values.values())])
        if names not in self._sums:
            self._sums[names] = torch.zeros_like(numbers)
        self._sums[names] += numbers.where(valid, 0.0)

    def read(self) -> dict[str, float]:
        """The mean of each name since the last call; waits for a GPU."""
        totals: dict[str, float] = {}
        counts: dict[str, float] = {}
        for names, sums in self._sums.items():
            count, *values = sums.tolist()
            sums.zero_()
            for name, value in zip(names, values, strict=True):
                totals[name] = totals.get(name, 0.0) + value
                counts[name] = counts.get(name, 0.0) + count
        return {name: total / counts[name] for name, total in totals.items() if counts[name]}


class SkipMeter:
    """Counts steps that were skipped because loss or gradient was not finite."""

    def __init__(self, device: torch.device) -> None:
        self._counts = torch.zeros(2, dtype=torch.long, device=device)  # in all, in a row

    def add(self, finite: Tensor) -> None:
        """Count one step; it was skipped unless ``finite``, a boolean scalar."""
        skipped = (~finite).long()
        self._counts.add_(skipped)
        self._counts[1] *= skipped

    def read(self) -> tuple[int, int]:
        """Steps skipped in all, and those in a row up to the last step; waits for a GPU."""
        total, in_a_row = self._counts.tolist()
        return total, in_a_row

    def reset(self, total: int) -> None:
        """Set the count in all to ``total`` and the count in a row to 0."""
        self._counts.copy_(torch.tensor([total, 0]))
