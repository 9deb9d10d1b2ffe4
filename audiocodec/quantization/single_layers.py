"""One codebook as a layer of any network, with the keywords, the order of results and the layouts
of the package vector-quantize-pytorch. Shapes as in :mod:`.layer`.

`docs/quantization.md` has all keywords, and what differs from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from audiocodec.quantization.layer import START_STEPS, QuantizerLayer


class SingleLayer(QuantizerLayer):
    """One codebook: ``x`` -> quantized, indices ``[B, ...]`` and the loss, a scalar."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Where ``mask [B, ...]`` is false, quantized is 0 and the index -1.

        Raises:
            CodecError: another shape, or nothing was fitted yet (see :class:`.QuantizerLayer`).
            NotFiniteError: ``x`` is not finite.
        """
        quantized, indices, losses = self.quantize(x, mask)
        return quantized, indices.squeeze(-1), losses.squeeze(0)

    @property
    def codebook(self) -> Tensor:
        """All entries, ``[codebook_size, D]``: quantized is ``codebook[indices]``."""
        return self.codebooks[0]

    def get_output_from_indices(self, indices: Tensor) -> Tensor:
        """Indices int64 ``[B, ...]`` -> what :meth:`forward` returned for them, like ``x``."""
        return self.entries_of(indices.unsqueeze(-1))[0]

    get_codes_from_indices = get_output_from_indices
    indices_to_codes = get_output_from_indices


class SimVQ(SingleLayer):
    """Entries ``C W + b`` of a frozen ``C`` (Zhu et al. 2024, arXiv 2411.02038)."""

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        codebook_dim: int | None = None,
        channel_first: bool = False,
        rotation_trick: bool = False,
        commitment_weight: float = 1.0,
        input_to_quantize_commit_loss_weight: float = 0.25,
        learn: Literal["transform", "codebook_and_transform"] = "transform",
        transform: Literal["full", "diagonal", "orthogonal"] = "full",
        initialisation: Literal["kmeans", "whitened", "random"] = "kmeans",
        start_vectors: int | None = None,
        start_steps: Sequence[int] = START_STEPS,
    ) -> None:
        """``initialisation="random"`` is the paper's, with ``W = I``; the others fit to data.

        ``codebook_dim``: search in fewer dimensions, behind a projection that is learned.
        """
        codebook = {
            "kind": "simvq",
            "size": codebook_size,
            "dim": codebook_dim,
            "learn": learn,
            "transform": transform,
            "initialisation": initialisation,
            "commitment_weight": commitment_weight * input_to_quantize_commit_loss_weight,
            "codebook_weight": commitment_weight,
        }
        super().__init__(
            dim,
            1,
            codebook,
            channel_first=channel_first,
            rotation_trick=rotation_trick,
            data_start=initialisation != "random",
            start_vectors=start_vectors,
            start_steps=start_steps,
        )


class VQ(SingleLayer):
    """A table that is learned by gradient (van den Oord et al. 2017, arXiv 1711.00937)."""

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        codebook_dim: int | None = None,
        channel_first: bool = False,
        rotation_trick: bool = False,
        commitment_weight: float = 1.0,
        input_to_quantize_commit_loss_weight: float = 0.25,
        initialisation: Literal["kmeans", "random"] = "kmeans",
        start_vectors: int | None = None,
        start_steps: Sequence[int] = START_STEPS,
    ) -> None:
        codebook = {
            "kind": "vq",
            "size": codebook_size,
            "dim": codebook_dim,
            "initialisation": initialisation,
            "commitment_weight": commitment_weight * input_to_quantize_commit_loss_weight,
            "codebook_weight": commitment_weight,
        }
        super().__init__(
            dim,
            1,
            codebook,
            channel_first=channel_first,
            rotation_trick=rotation_trick,
            data_start=initialisation != "random",
            start_vectors=start_vectors,
            start_steps=start_steps,
        )


class EMAVQ(SingleLayer):
    """A table of moving averages with dead-code resets (the same paper, appendix A.1)."""

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        codebook_dim: int | None = None,
        channel_first: bool = False,
        rotation_trick: bool = False,
        commitment_weight: float = 1.0,
        decay: float = 0.99,
        reset_threshold: float = 0.02,
        initialisation: Literal["kmeans", "random"] = "kmeans",
        start_vectors: int | None = None,
        start_steps: Sequence[int] = START_STEPS,
    ) -> None:
        """``reset_threshold``: entries used less than this share of even use are reset; 0: none.

        The loss is the commitment alone.
        """
        codebook = {
            "kind": "ema_vq",
            "size": codebook_size,
            "dim": codebook_dim,
            "decay": decay,
            "reset_threshold": reset_threshold,
            "initialisation": initialisation,
            "commitment_weight": commitment_weight,
            "codebook_weight": 0.0,
        }
        super().__init__(
            dim,
            1,
            codebook,
            channel_first=channel_first,
            rotation_trick=rotation_trick,
            data_start=initialisation != "random",
            start_vectors=start_vectors,
            start_steps=start_steps,
        )


class FSQ(SingleLayer):
    """A grid (Mentzer et al. 2023, arXiv 2309.15505), fitted to the data unless it is told not to.

    With ``bound="tanh", initialisation="published", commitment_weight=0`` it is the paper's, apart
    from the gradient, which passes as if nothing were between ``x`` and quantized.
    """

    def __init__(
        self,
        levels: Sequence[int],
        dim: int | None = None,
        *,
        channel_first: bool = False,
        rotation_trick: bool = False,
        commitment_weight: float = 1.0,
        input_to_quantize_commit_loss_weight: float = 0.25,
        bound: Literal["clamp", "tanh"] = "clamp",
        initialisation: Literal["fitted", "published"] = "fitted",
        start_vectors: int | None = None,
        start_steps: Sequence[int] = START_STEPS,
    ) -> None:
        """``dim``: of ``x``; more than ``len(levels)`` goes through a projection."""
        codebook = {
            "kind": "fsq",
            "levels": tuple(levels),
            "bound": bound,
            "initialisation": initialisation,
            "commitment_weight": commitment_weight * input_to_quantize_commit_loss_weight,
            "codebook_weight": commitment_weight,
        }
        super().__init__(
            dim or len(levels),
            1,
            codebook,
            channel_first=channel_first,
            rotation_trick=rotation_trick,
            data_start=initialisation != "published",
            start_vectors=start_vectors,
            start_steps=start_steps,
        )
