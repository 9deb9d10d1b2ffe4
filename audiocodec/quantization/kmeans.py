"""k-means, which initialises codebooks on data."""

import math

import torch
from torch import Tensor

from audiocodec.quantization.nearest import nearest_entries

FLAT_CENTRES = 2**13
"""The most centres that k-means compares with every vector."""


def kmeans(vectors: Tensor, size: int, generator: torch.Generator, iterations: int = 12) -> Tensor:
    """``size`` centres of ``vectors [N, d]`` by Lloyd's iteration from random distinct vectors.

    A centre that loses all its vectors is moved to a random vector. With fewer vectors than
    centres, vectors are repeated with a little noise so that no two centres agree. More than
    :data:`FLAT_CENTRES` are found at two levels: `sqrt(size)` groups, and within each group as
    many centres as its share of the vectors. For 65,536 that is a hundredth of the work, and of
    vectors that were not among these it leaves no more.
    """
    count = len(vectors)
    if count < size:
        order = torch.randperm(count, generator=generator)
        picks = order.repeat(-(-size // count))[:size].to(vectors.device)
        noise = torch.randn(size, vectors.shape[1], generator=generator).to(vectors)
        return vectors[picks] + 0.01 * vectors.std() * noise
    if size <= FLAT_CENTRES:
        return _lloyd(vectors, size, generator, iterations)
    coarse = _lloyd(vectors, math.isqrt(size), generator, iterations)
    groups = nearest_entries(vectors, coarse)
    members = vectors[groups.argsort(stable=True)]
    lengths = groups.bincount(minlength=len(coarse))
    # Shares rounded so that they add up to `size`; as N >= size, no group gets more than it has.
    ends = lengths.cumsum(0) * size // count
    shares = ends.diff(prepend=ends.new_zeros(1))
    return torch.cat(
        [
            _lloyd(group, share, generator, iterations)
            for group, share in zip(members.split(lengths.tolist()), shares.tolist(), strict=True)
            if share
        ]
    )


def _lloyd(vectors: Tensor, size: int, generator: torch.Generator, iterations: int) -> Tensor:
    """``size`` centres of at least as many vectors, all of them compared with all."""
    count, dim = vectors.shape
    picks = torch.randperm(count, generator=generator)[:size].to(vectors.device)
    centres = vectors[picks].clone()
    ones = vectors.new_ones(count)
    for _ in range(iterations):
        codes = nearest_entries(vectors, centres)
        sums = vectors.new_zeros(size, dim).index_add_(0, codes, vectors)
        counts = vectors.new_zeros(size).index_add_(0, codes, ones)
        empty = counts == 0
        centres = sums / counts.clamp(min=1).unsqueeze(1)
        fresh = torch.randint(count, (int(empty.sum()),), generator=generator)
        centres[empty] = vectors[fresh.to(vectors.device)]
    return centres
