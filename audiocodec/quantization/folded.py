"""All stages of a finished quantiser at once, for use: the same codes in fewer steps.

A stage sees its residual through a projection ``A_k = P_k / s_k`` only, and what it gives is a row
of a known table. So the residual need never be formed in the latents' own space. All projections
are taken at the start, ``z_k = A_k (x - center)``, and a code ``c`` of stage ``j`` then takes from
every later stage ``k`` a vector that depends on ``c`` alone:

    z_k <- z_k - A_k (s_j P_j^T e_c) = z_k - s_j / s_k P_k P_j^T e_c

which is written down for every entry when the model is loaded. Likewise, latents are the sum of one
row for each code. In exact arithmetic this is what :mod:`.residual` does; in floating point it
differs by rounding.

A wider search (:mod:`.beam`) asks what energy a code leaves in the latents' space. Of a residual
``r`` with ``z = P r / s``, a code that gives ``g = s P^T e`` leaves ``|r|^2 + |g|^2 - 2 s^2 z.e``.

Shapes: ``S`` stages, ``N`` vectors; others as in :mod:`.residual`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.quantization.beam import rows_of
from audiocodec.quantization.codebook import (
    FixedTable,
    least_few_of_rows,
    least_of_rows,
    search_pieces,
)

if TYPE_CHECKING:
    from audiocodec.quantization.residual import Stage

MOST_ELEMENTS = 2**23
"""Numbers that the tables may hold, 32 MiB in float32; larger quantisers stay as they are."""


class FoldedStages(nn.Module):
    """Tables of all stages. Buffers only, none of them saved: they are made from the weights."""

    lead_in: Tensor
    offset: Tensor
    norms: Tensor
    squares: Tensor
    sums: Tensor
    center: Tensor
    starts: Tensor

    def __init__(self, stages: Sequence[Stage], center: Tensor) -> None:
        super().__init__()
        every = torch.arange(stages[0].codebook.size, device=center.device)
        self.size = len(every)
        self.ends = list(accumulate(stage.codebook.dim for stage in stages))
        given = torch.stack([stage.entries(every) for stage in stages])
        into = torch.cat([stage.projection / stage.scale for stage in stages])
        self._hold("lead_in", into.T)  # [D, d of all stages]
        self._hold("offset", -(center.T @ self.lead_in))  # [1, d of all stages]
        norms = []
        for number, (stage, end) in enumerate(zip(stages, self.ends, strict=True)):
            entries = stage.codebook.lookup(every)
            norms.append(entries.square().sum(dim=1))
            self._hold(f"entries{number}", -2 * entries.T)  # [d, size]
            scored = -2 * stage.scale.square() * entries.T
            self._hold(f"changes{number}", torch.cat([scored, torch.ones_like(scored[:1])]))
            self._hold(f"takes{number}", given[number] @ self.lead_in[:, end:])  # [size, later d]
        self._hold("norms", torch.stack(norms))  # [S, size]
        self._hold("squares", given.square().sum(dim=2))  # [S, size]
        self._hold("sums", given.flatten(0, 1))  # [S size, D]
        self._hold("center", center.T)  # [1, D]
        self._hold("starts", every.new_tensor(range(len(stages))) * self.size)

    @classmethod
    def of(cls, stages: Sequence[Stage], center: Tensor) -> FoldedStages | None:
        """The tables of ``stages``; nothing if there are none, too large ones or NaN."""
        first, count = stages[0].codebook, len(stages)
        dims = sum(stage.codebook.dim for stage in stages)
        elements = first.size * count * (len(center) + dims // 2)
        if elements > MOST_ELEMENTS or not isinstance(first, FixedTable):
            return None
        with torch.no_grad():
            folded = cls(stages, center)
        return folded if all(bool(x.isfinite().all()) for x in folded.buffers()) else None

    def encode(self, latents: Tensor, num_codebooks: int, beam: int = 1) -> Tensor | None:
        """``[B, D, F]`` -> codes int64 ``[B, K, F]``; nothing where numbers are not finite."""
        batch, _, frames = latents.shape
        width = self.ends[num_codebooks - 1]
        rows = latents.transpose(1, 2).reshape(batch * frames, len(self.lead_in))
        projected = torch.addmm(self.offset[:, :width], rows, self.lead_in[:, :width])
        if not math.isfinite(projected.sum().item()):
            return None
        codes = torch.empty(num_codebooks, batch * frames, dtype=torch.long, device=latents.device)
        start = 0
        for piece in search_pieces(projected, beam * self.size):
            found = codes[:, start : start + len(piece)]
            if beam == 1:
                self._search(piece, found)
            else:
                found.copy_(self._search_wide(piece, num_codebooks, beam).T)
            start += len(piece)
        return codes.view(num_codebooks, batch, frames).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[B, K, F]`` -> ``[B, D, F]``."""
        batch, stages, frames = codes.shape
        rows = (codes.transpose(1, 2) + self.starts[:stages]).reshape(batch * frames, stages)
        sums = F.embedding_bag(rows, self.sums, mode="sum") + self.center
        return sums.view(batch, frames, sums.shape[1]).transpose(1, 2)

    def _search(self, projected: Tensor, codes: Tensor) -> None:
        """What ``K`` stages see, ``[N, d of them all]``, overwritten, -> ``codes [K, N]``."""
        width, first = projected.shape[1], 0
        for stage, end in enumerate(self.ends[: len(codes)]):
            entries = self.get_buffer(f"entries{stage}")
            scores = torch.addmm(self.norms[stage], projected[:, first:end], entries)
            codes[stage] = least_of_rows(scores)
            if end < width:
                taken = self.get_buffer(f"takes{stage}")[:, : width - end]
                projected[:, end:] -= taken.index_select(0, codes[stage])
            first = end

    def _search_wide(self, projected: Tensor, num_codebooks: int, beam: int) -> Tensor:
        """What stages see, ``[N, d of them all]``, -> codes ``[N, K]``, as
        :func:`.beam.beam_search` finds them."""
        frames = len(projected)
        kept = projected.unsqueeze(1)  # [N, M, what this and later stages see]
        energy = projected.new_zeros(frames, 1)
        paths = torch.empty(frames, 1, 0, dtype=torch.long, device=projected.device)
        first = 0
        for stage, end in enumerate(self.ends[:num_codebooks]):
            dim, first = end - first, end
            seen = torch.cat([kept[..., :dim], energy.unsqueeze(2)], dim=2).flatten(0, 1)
            left = torch.addmm(self.squares[stage], seen, self.get_buffer(f"changes{stage}"))
            energy, best = least_few_of_rows(left.view(frames, kept.shape[1] * self.size), beam)
            codes, parents = best % self.size, (best // self.size).unsqueeze(2)
            paths = torch.cat([rows_of(paths, parents), codes.unsqueeze(2)], dim=2)
            if stage + 1 < num_codebooks:
                kept = rows_of(kept[..., dim:], parents)
                kept -= F.embedding(codes, self.get_buffer(f"takes{stage}")[:, : kept.shape[2]])
        return paths[:, 0]

    def _hold(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.detach().contiguous(), persistent=False)
