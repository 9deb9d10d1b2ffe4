"""Beam search over residual stages: codes that leave less than choosing greedily does.

The nearest entry of one stage need not be the one from which the later stages get nearest. So the
few sums that leave least energy are kept from stage to stage. The decoder needs to know nothing of
it.

Shapes: ``N`` frames, ``M`` sums kept, ``D`` latent_dim.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from audiocodec.quantization.codebook import least_few_of_rows, search_pieces


class Searchable(Protocol):
    """What a search asks of a stage."""

    @property
    def size(self) -> int:
        """Entries."""

    def changes(self, residual: Tensor) -> Tensor:
        """What each entry adds to the energy of ``[n, D]`` when it is taken away: ``[n, size]``."""

    def entries(self, codes: Tensor) -> Tensor:
        """Codes ``[...]`` -> what they stand for, ``[..., D]``."""


@torch.no_grad()
def beam_search(stages: Sequence[Searchable], vectors: Tensor, beam: int) -> Tensor:
    """Codes ``[N, K]`` of ``vectors [N, D]``: those of the ``beam`` sums that leave least energy.

    Memory does not grow with ``N``.
    """
    pieces = search_pieces(vectors, beam * stages[0].size)
    return torch.cat([_search(stages, piece, beam) for piece in pieces])


def _search(stages: Sequence[Searchable], vectors: Tensor, beam: int) -> Tensor:
    frames = len(vectors)
    kept = vectors.unsqueeze(1)  # residuals [N, M, D]; of each what it leaves, less what there was,
    energy = vectors.new_zeros(frames, 1)  # and the codes that led there
    paths = torch.empty(frames, 1, 0, dtype=torch.long, device=vectors.device)
    for stage in stages:
        changes = stage.changes(kept.flatten(0, 1)).view(*kept.shape[:2], stage.size)
        left = energy.unsqueeze(2) + changes
        energy, best = least_few_of_rows(left.flatten(1), beam)
        codes, parents = best % stage.size, (best // stage.size).unsqueeze(2)
        paths = torch.cat([rows_of(paths, parents), codes.unsqueeze(2)], dim=2)
        kept = rows_of(kept, parents) - stage.entries(codes)
    return paths[:, 0]


def rows_of(kept: Tensor, parents: Tensor) -> Tensor:
    """Rows ``[N, M, *]`` by their places ``[N, M', 1]``: ``[N, M', *]``, a copy."""
    return kept.gather(1, parents.expand(-1, -1, kept.shape[2]))
