"""A codec's codebook entries in a few dimensions, as the embeddings of its codes begin."""

from __future__ import annotations

import torch
from torch import Tensor

from audiocodec.quantization.residual import ResidualQuantizer

LARGEST = 1.9
"""Greatest magnitude of an initial embedding: near the greatest that 8 bits hold."""


@torch.no_grad()
def projected_entries(quantizer: ResidualQuantizer, dim: int) -> list[Tensor]:
    """Entries of every stage in the latents' space, on their first ``dim`` principal axes.

    Axes are scaled half-way to equal variance, so that 8 bits resolve the later ones too. Where the
    latents have fewer dimensions than ``dim``, the others are zeros.

    Returns:
        ``[size, dim]`` for each stage.
    """
    tables = []
    for stage in quantizer.stages:
        codes = torch.arange(stage.codebook.size, device=stage.projection.device)
        tables.append(stage.decode(codes[None])[0].T.float().cpu())
    covariance = sum(torch.cov(table.T, correction=0) for table in tables)
    variances, axes = torch.linalg.eigh(torch.atleast_2d(torch.as_tensor(covariance)))
    axes, variances = axes.flip(1)[:, :dim], variances.flip(0)[:dim].clamp(min=0)
    axes = axes / variances.clamp(min=1e-6 * float(variances[0]) + 1e-12) ** 0.25
    entries = [table @ axes for table in tables]
    scale = LARGEST / max(float(table.abs().max()) for table in entries)
    return [torch.nn.functional.pad(table * scale, (0, dim - axes.shape[1])) for table in entries]
