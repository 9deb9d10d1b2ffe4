"""Beam search over residual stages: codes that leave less than choosing greedily does.

The nearest entry of one stage need not be the one from which the later stages get nearest. So the
best few partial sums are kept from stage to stage. The decoder needs to know nothing of it.

Shapes: ``N`` frames, ``M`` partial sums kept, ``C`` entries tried for each, ``D`` latent_dim.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

SEARCH_ELEMENTS = 2**22
"""Values of tried residuals held at once: 16 MiB in float32."""


class Searchable(Protocol):
    """What a search asks of a stage."""

    def candidates(self, vectors: Tensor, count: int) -> Tensor:
        """The codes of the ``count`` entries nearest to each of ``[n, D]``: ``[n, count]``."""

    def entries(self, codes: Tensor) -> Tensor:
        """Codes ``[...]`` -> what they stand for, ``[..., D]``."""


@torch.no_grad()
def beam_search(stages: Sequence[Searchable], vectors: Tensor, beam: int) -> Tensor:
    """Codes ``[N, K]`` of ``vectors [N, D]``: those of the ``beam`` sums that leave least energy.

    Memory does not grow with ``N``.
    """
    rows = max(1, SEARCH_ELEMENTS // (beam * beam * vectors.shape[1]))
    return torch.cat([_search(stages, piece, beam) for piece in vectors.split(rows)])


def _search(stages: Sequence[Searchable], vectors: Tensor, beam: int) -> Tensor:
    frames, dim = vectors.shape
    residuals = vectors.unsqueeze(1)  # [N, M, D], and the codes that led there, [N, M, k]
    paths = torch.zeros(frames, 1, 0, dtype=torch.long, device=vectors.device)
    for stage in stages:
        kept = residuals.shape[1]
        codes = stage.candidates(residuals.reshape(frames * kept, dim), beam)
        tried = codes.shape[1]
        codes = codes.reshape(frames, kept, tried)
        left = (residuals.unsqueeze(2) - stage.entries(codes)).flatten(1, 2)  # [N, M C, D]
        energy = left.square().sum(dim=-1)
        best = energy.topk(min(beam, kept * tried), dim=1, largest=False).indices  # [N, M]
        parents = (best // tried).unsqueeze(-1).expand(-1, -1, paths.shape[-1])
        chosen = codes.flatten(1).gather(1, best).unsqueeze(-1)
        paths = torch.cat([paths.gather(1, parents), chosen], dim=-1)
        residuals = left.gather(1, best.unsqueeze(-1).expand(-1, -1, dim))
    return paths[:, 0]
