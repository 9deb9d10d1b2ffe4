"""A stage of the residual quantiser: a codebook in a few dimensions of the latents, or in all.

A projection ``P [d, D]`` leads in, its transpose leads out, and ``scale`` gives the codebook inputs
of unit size.

Shapes: ``B`` batch, ``D`` latent_dim, ``F`` frames, ``N`` vectors, ``d`` codebook dim.
"""

import torch
from torch import Tensor, nn

from audiocodec import ranks
from audiocodec.quantization.codebook import CodebookConfig
from audiocodec.quantization.family import build_codebook


class Stage(nn.Module):
    """A codebook behind a projection: ``[B, D, F]`` -> codes ``[B, F]`` -> ``[B, D, F]``."""

    projection: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int, config: CodebookConfig) -> None:
        super().__init__()
        self.codebook = build_codebook(config)
        self._make_projection(latent_dim)
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def encode(self, residual: Tensor) -> Tensor:
        batch, _, frames = residual.shape
        return self.codebook.nearest(self._project(as_rows(residual))).reshape(batch, frames)

    def decode(self, codes: Tensor) -> Tensor:
        return self._lead_out(self.codebook.lookup(codes) * self.scale).transpose(1, 2)

    @torch.no_grad()
    def update_online(self, residual: Tensor, codes: Tensor) -> None:
        """Update the codebook from a residual ``[B, D, F]`` and its codes ``[B, F]``."""
        if int(ranks.total(torch.tensor(codes.numel(), device=codes.device))):
            self.codebook.update_online(self._project(as_rows(residual)), codes.flatten())

    @torch.no_grad()
    def initialise(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Fit projection, scale and codebook to residuals ``[N, D]``."""
        self._fit_projection(vectors)
        self.scale.fill_(1)
        self.scale.copy_(self._project(vectors).square().mean().sqrt().clamp(min=1e-6))
        self.codebook.initialise(self._project(vectors), generator)

    def _make_projection(self, latent_dim: int) -> None:
        projection = torch.empty(self.codebook.dim, latent_dim, dtype=torch.float32)
        if not projection.is_meta:
            nn.init.orthogonal_(projection)
        self.projection = nn.Parameter(projection)

    def _fit_projection(self, vectors: Tensor) -> None:
        centred = vectors - vectors.mean(dim=0)
        _, axes = torch.linalg.eigh(centred.T @ centred)
        self.projection.copy_(axes.flip(1).T[: self.projection.shape[0]])

    def _project(self, vectors: Tensor) -> Tensor:
        return (vectors @ self.projection.T) / self.scale

    def _lead_out(self, entries: Tensor) -> Tensor:
        return entries @ self.projection


class WholeStage(Stage):
    """A codebook in all dimensions of the latents: its projection is the identity."""

    def _make_projection(self, latent_dim: int) -> None:
        self.register_buffer("projection", torch.eye(latent_dim), persistent=False)

    def _fit_projection(self, vectors: Tensor) -> None:
        pass

    def _project(self, vectors: Tensor) -> Tensor:
        return vectors / self.scale

    def _lead_out(self, entries: Tensor) -> Tensor:
        return entries


def as_rows(latents: Tensor) -> Tensor:
    """``[B, D, F]`` -> a row for each frame, ``[B F, D]``."""
    return latents.transpose(1, 2).flatten(0, 1)
