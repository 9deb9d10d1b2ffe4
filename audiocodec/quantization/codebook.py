"""The contract of a codebook, and what codebooks with an explicit table share.

A codebook turns vectors into codes (:meth:`Codebook.nearest`) and codes into entries
(:meth:`Codebook.lookup`), says what training should minimise (:meth:`Codebook.loss`), may be
initialised on data (:meth:`Codebook.initialise`) and may learn without a gradient
(:meth:`Codebook.update_online`). It is independent of stages and audio.

Shapes: ``N`` vectors, ``d`` = ``dim``.
"""

from typing import Annotated, Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.config import Config
from audiocodec.quantization.nearest import least_of_rows, nearest_entries

MAX_SIZE = 2**18


class CodebookConfig(Config):
    """Settings of every kind of codebook."""

    kind: str
    size: Annotated[int, pydantic.Field(ge=2, le=MAX_SIZE)] = 1024
    dim: Annotated[int, pydantic.Field(ge=1, le=16_384)] = 12
    commitment_weight: Annotated[float, pydantic.Field(ge=0, le=1e6)] = pydantic.Field(
        0.25, description="weight of the loss that pulls latents to entries (beta)"
    )
    codebook_weight: Annotated[float, pydantic.Field(ge=0, le=1e6)] = pydantic.Field(
        1.0, description="weight of the loss that pulls entries to latents (gamma)"
    )

    def computation(self) -> dict[str, Any]:
        """The settings that codes and entries depend on; a kind adds its own.

        See :meth:`audiocodec.codec.CodecConfig.computation`.
        """
        return {"kind": self.kind, "size": self.size, "dim": self.dim}


class Codebook(nn.Module):
    """One stage's set of vectors. A kind overrides what is different about it."""

    Config: ClassVar[type[CodebookConfig]]
    updates_online = False
    """Whether :meth:`update_online` does anything."""

    def __init__(self, config: CodebookConfig) -> None:
        super().__init__()
        self.size = config.size
        self.dim = config.dim
        self.commitment_weight = config.commitment_weight
        self.codebook_weight = config.codebook_weight

    def nearest(self, vectors: Tensor) -> Tensor:
        """The code of the entry nearest to each vector: ``[N, d]`` -> int64 ``[N]``."""
        raise NotImplementedError

    def lookup(self, codes: Tensor) -> Tensor:
        """The entries behind ``codes``, any shape ``[...]`` -> ``[..., d]``, differentiable."""
        raise NotImplementedError

    def loss(self, inputs: Tensor, quantized: Tensor) -> Tensor:
        """``beta ||z - sg q||^2 + gamma ||sg z - q||^2`` (van den Oord et al. 2017, eq. 3).

        Takes two tensors of equal shape, returns the mean over all their elements.
        """
        commitment = F.mse_loss(inputs, quantized.detach())
        codebook = F.mse_loss(quantized, inputs.detach())
        return self.commitment_weight * commitment + self.codebook_weight * codebook

    def initialise(self, vectors: Tensor, generator: torch.Generator) -> None:
        """Fit the entries to data ``[N, d]`` before they are first used. Default: nothing.

        Whoever owns the codebook calls it, in a codec the training run. Until then the entries are
        random. (The layers in :mod:`.single_layers` call it themselves.)
        """

    def update_online(self, vectors: Tensor, codes: Tensor) -> None:
        """Learn from ``vectors [N, d]`` and the ``codes [N]`` chosen for them, without a gradient.
        Default: nothing.

        Called once a training step, after the step's entries were looked up. In a distributed run
        all ranks call it with their part of the batch, which may be empty, and come to the same
        entries: see :mod:`audiocodec.ranks`.
        """

    def freeze(self) -> "FrozenCodebook":
        """The codebook as it is now, for use."""
        device = next(iter(self.state_dict().values())).device
        return FrozenCodebook(self.lookup(torch.arange(self.size, device=device)))


class TableCodebook(Codebook):
    """A codebook whose entries can be written down: ``table()`` is ``[size, d]``."""

    def table(self) -> Tensor:
        """All entries, ``[size, d]``, differentiable."""
        raise NotImplementedError

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        return nearest_entries(vectors, self.table())

    def lookup(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.table())

    def freeze(self) -> "FrozenCodebook":
        return FrozenCodebook(self.table())


class FrozenCodebook:
    """A codebook in use: its entries ``[size, d]``, and the search for the nearest of them."""

    def __init__(self, entries: Tensor) -> None:
        self.entries = entries.detach().clone()
        self._norms = self.entries.square().sum(dim=1)
        self._scaled = (-2 * self.entries.T).contiguous()

    def nearest(self, vectors: Tensor) -> Tensor:
        """The code of the entry nearest to each vector: ``[N, d]`` -> int64 ``[N]``.

        All ``N * size`` distances are held at once.
        """
        return least_of_rows(torch.addmm(self._norms, vectors, self._scaled))


def gaussian_table(size: int, dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Random entries ``[size, dim]`` of unit length on average; on the meta device, their shape."""
    table = torch.empty(size, dim)
    return table if table.is_meta else table.normal_(generator=generator) * dim**-0.5
