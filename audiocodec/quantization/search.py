"""The search for codes in use: all stages of a trained quantiser as tables.

A stage sees its residual through a projection ``A_k = P_k / s_k`` only, and its output is a row of
a known table. So the residual is never formed in the latents' own space. All projections are
computed first, ``z_k = A_k (x - center)``, and a code ``c`` of stage ``j`` then takes from every
later stage ``k`` a vector that depends on ``c`` alone:

    z_k <- z_k - A_k (s_j P_j^T e_c) = z_k - s_j / s_k P_k P_j^T e_c

These vectors are computed once, when the tables are made. In exact arithmetic the codes are those
of the stage-by-stage search in :mod:`.residual`; in floating point they differ by rounding.

The search keeps ``beam`` paths from stage to stage. With a beam width of 1, each stage takes the
entry that is nearest in its own space, as in training. A wider beam ranks paths by the energy that
they leave in the latents' space: of a residual ``r`` with ``z = P r / s``, an entry ``e`` leaves
``|r|^2 + |g|^2 - 2 s^2 z.e``, where ``g = s P^T e``. The decoder does not depend on the beam width.

Shapes: ``N`` frames, ``M`` paths, ``K`` stages in use, ``D`` latent_dim, ``d`` the stage's dim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.errors import NotFiniteError
from audiocodec.quantization.nearest import least_few_of_rows, search_pieces
from audiocodec.quantization.residual import ResidualQuantizer
from audiocodec.quantization.stage import Stage, as_rows

MAX_TABLE_ELEMENTS = 2**23
"""Numbers that precomputed products may hold, 32 MiB in float32; larger ones are computed at each
search."""

Step = tuple[Tensor, Tensor | None]
"""Codes ``[N, M]`` of a stage and, for each, the path before it; ``None``: the same path."""


class InferenceTables:
    """Codes from latents and latents from codes, without gradients. Nothing in it ever changes.

    Raises:
        NotFiniteError: a stage of ``quantizer`` has entries that are not finite.
    """

    @torch.no_grad()
    def __init__(self, quantizer: ResidualQuantizer) -> None:
        stages = list(quantizer.stages)
        dims = [stage.codebook.dim for stage in stages]
        self.widths = list(accumulate(dims))
        self.center = quantizer.center.T.contiguous()  # [1, D]
        projections = torch.cat([stage.projection / stage.scale for stage in stages])
        self.lead_in = projections.T.contiguous()  # [D, d of all stages]
        self.offset = -(self.center @ self.lead_in)  # [1, d of all stages]
        total = sum(stage.codebook.size for stage in stages) * (len(self.lead_in) + sum(dims) // 2)
        precompute = total <= MAX_TABLE_ELEMENTS
        self.stages = [
            StageTables(stage, self.lead_in[:, end:], precompute)
            for stage, end in zip(stages, self.widths, strict=True)
        ]
        self.outputs = Outputs(self.stages, self.center, precompute)
        for number, tables in enumerate(self.stages, start=1):
            if not bool(tables.squares.isfinite().all()):
                raise NotFiniteError(
                    f"quantizer stage {number} of {len(stages)}: its entries are not all finite; "
                    "check its weights"
                )

    def encode(self, latents: Tensor, num_codebooks: int | None = None, beam: int = 1) -> Tensor:
        """Latents ``[B, D, F]`` -> codes int64 ``[B, K, F]``. Memory does not grow with the frames.

        Raises:
            NotFiniteError: latents are not all finite.
        """
        batch, _, frames = latents.shape
        projected = self.project(latents, num_codebooks)
        if not math.isfinite(projected.sum().item()) and not bool(latents.isfinite().all()):
            raise NotFiniteError(
                f"quantizer stage 1 of {len(self.stages)}: the latents that come in are not all "
                "finite; check the audio and the encoder's weights"
            )
        largest = max(tables.size for tables in self.stages)
        pieces = search_pieces(projected, beam * largest)
        codes = torch.cat([self.search(rows, beam) for rows in pieces])
        return codes.view(batch, frames, codes.shape[1]).transpose(1, 2)

    def project(self, latents: Tensor, num_codebooks: int | None = None) -> Tensor:
        """What the stages see of latents ``[B, D, F]``: ``[B F, d of the stages in use]``."""
        width = self.widths[(num_codebooks or len(self.stages)) - 1]
        return torch.addmm(self.offset[:, :width], as_rows(latents), self.lead_in[:, :width])

    def search(self, projected: Tensor, beam: int = 1) -> Tensor:
        """What ``K`` stages see of frames, ``[N, d of them all]`` -> codes ``[N, K]``."""
        seen = projected.unsqueeze(1)  # [N, M, d of this and of later stages]
        energy = projected.new_zeros(len(projected), 1)
        steps: list[Step] = []
        for tables in self.stages:
            own, later = seen[..., : tables.dim], seen[..., tables.dim :]
            codes, parents, energy = tables.extend(own, energy, beam)
            steps.append((codes, parents))
            width = later.shape[-1]
            if not width:
                break
            if parents is not None:
                later = later.gather(1, parents.unsqueeze(2).expand(-1, -1, width))
            seen = later - tables.taken(codes, width)
        return best_path(steps)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[B, K, F]`` -> latents ``[B, D, F]``. A code of -1 adds nothing."""
        batch, stages, frames = codes.shape
        rows = codes.transpose(1, 2).reshape(batch * frames, stages)
        pieces = search_pieces(rows, stages * self.center.shape[1])
        latents = torch.cat([self.outputs(piece) for piece in pieces])
        return latents.view(batch, frames, latents.shape[1]).transpose(1, 2)


class Outputs:
    """What codes ``[N, K]`` stand for, ``[N, D]``: ``center`` and the sum of the stages' outputs.

    A code of -1 adds nothing. All ``N K D`` numbers are held at once.
    """

    def __init__(self, stages: Sequence[StageTables], center: Tensor, precompute: bool) -> None:
        self.center = center
        tables = [stage.codebook.entries for stage in stages]
        widest = center.shape[1] if precompute else max(table.shape[1] for table in tables)
        firsts = [0, *accumulate(map(len, tables))]
        self._firsts = center.new_tensor(firsts[:-1], dtype=torch.long)
        # Rows of all stages under each other, padded to one length; the last row is zero.
        self._rows = center.new_zeros(firsts[-1] + 1, widest)
        self._matrices = (
            None if precompute else center.new_zeros(len(stages), widest, len(center.T))
        )
        for number, (table, stage) in enumerate(zip(tables, stages, strict=True)):
            rows = table @ stage.lead_out if precompute else table
            self._rows[firsts[number] : firsts[number + 1], : rows.shape[1]] = rows
            if self._matrices is not None:
                self._matrices[number, : stage.dim] = stage.lead_out

    def __call__(self, codes: Tensor) -> Tensor:
        stages = codes.shape[1]
        places = (codes + self._firsts[:stages]).where(codes >= 0, len(self._rows) - 1)
        rows = F.embedding(places, self._rows)
        if self._matrices is None:
            return rows.sum(dim=1) + self.center
        return torch.addmm(self.center, rows.flatten(1), self._matrices[:stages].flatten(0, 1))


class StageTables:
    """One stage. ``later [D, d of later stages]`` is how later stages see the latents."""

    def __init__(self, stage: Stage, later: Tensor, precompute: bool) -> None:
        self.codebook = stage.codebook.freeze()
        entries = self.codebook.entries
        self.size, self.dim = entries.shape
        self.lead_out = stage.scale * stage.projection
        scored = -2 * stage.scale.square() * entries.T
        self._scores = torch.cat([scored, torch.ones_like(scored[:1])])
        outputs = [(rows * stage.scale) @ stage.projection for rows in entries.split(2**16)]
        self.squares = torch.cat([rows.square().sum(dim=1) for rows in outputs])
        self._taken = torch.cat(outputs) @ later if precompute else None
        self._lead_on = self.lead_out @ later

    def extend(
        self, seen: Tensor, energy: Tensor, beam: int
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """The ``beam`` best continuations of paths.

        Args:
            seen: what this stage sees of each path's residual, ``[N, M, d]``.
            energy: of each path's residual, less that of the latents, ``[N, M]``.

        Returns:
            Codes ``[N, beam]``, the paths that they continue, and energies.
        """
        if beam == 1:
            return self.codebook.nearest(seen.squeeze(1)).unsqueeze(1), None, energy
        rows = torch.cat([seen, energy.unsqueeze(2)], dim=2).flatten(0, 1)
        left = torch.addmm(self.squares, rows, self._scores)
        energy, best = least_few_of_rows(left.view(len(seen), seen.shape[1] * self.size), beam)
        return best % self.size, best // self.size, energy

    def taken(self, codes: Tensor, width: int) -> Tensor:
        """What codes ``[N, M]`` take from the ``width`` numbers that later stages see:
        ``[N, M, width]``."""
        if self._taken is not None:
            return F.embedding(codes, self._taken[:, :width])
        return F.embedding(codes, self.codebook.entries) @ self._lead_on[:, :width]


def best_path(steps: Sequence[Step]) -> Tensor:
    """Codes ``[N, K]`` of the first path after the last step."""
    place = torch.zeros_like(steps[-1][0][:, :1])
    codes = []
    for stage_codes, parents in reversed(steps):
        if parents is None:
            codes.append(stage_codes)
            continue
        codes.append(stage_codes.gather(1, place))
        place = parents.gather(1, place)
    return torch.cat(codes[::-1], dim=1)
