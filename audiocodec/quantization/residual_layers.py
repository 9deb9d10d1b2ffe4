"""Residual quantisers as layers of any network, with the keywords, the order of results and the
layouts of the package vector-quantize-pytorch. Shapes as in :mod:`.layer`.

`docs/quantization.md` has all keywords, and what differs from there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.errors import CodecError
from audiocodec.quantization.layer import QuantizerLayer
from audiocodec.quantization.single_layers import EMAVQ, FSQ, VQ, SimVQ, SingleLayer


class ResidualLayer(QuantizerLayer):
    """``num_quantizers`` codebooks, each of the residual of those before it."""

    single: ClassVar[type[SingleLayer]]
    """The layer of one codebook, whose keywords this one takes."""

    def __init__(
        self,
        *,
        num_quantizers: int,
        codebook_dim: int | Sequence[int] | None = None,
        quantize_dropout: bool = False,
        quantize_dropout_cutoff_index: int = 0,
        quantize_dropout_multiple_of: int = 1,
        **settings: Any,
    ) -> None:
        """``settings``: all that one codebook's layer takes.

        ``codebook_dim`` may have a number for each; the last one holds for all later codebooks.
        """
        dims = codebook_dim if isinstance(codebook_dim, Sequence) else ()
        if codebook_dim is not None:
            settings["codebook_dim"] = dims[0] if dims else codebook_dim
        with torch.device("meta"):
            one = self.single(**settings)
        super().__init__(one.dim, num_quantizers, codebook_dims=dims, **one.settings)
        if not 0 <= quantize_dropout_cutoff_index < num_quantizers:
            raise CodecError(
                f"quantize_dropout_cutoff_index: 0 to {num_quantizers - 1}, not "
                f"{quantize_dropout_cutoff_index}"
            )
        self.quantize_dropout = quantize_dropout
        self.quantize_dropout_cutoff_index = quantize_dropout_cutoff_index
        self.quantize_dropout_multiple_of = quantize_dropout_multiple_of

    def forward(
        self, x: Tensor, mask: Tensor | None = None, return_all_codes: bool = False
    ) -> tuple[Tensor, ...]:
        """``x`` -> quantized, indices ``[B, ..., Q]`` and losses ``[Q]``, to be summed.

        ``return_all_codes`` adds :meth:`get_codes_from_indices` of the indices. In training,
        ``quantize_dropout`` uses a random number of quantizers, more than the cutoff index and a
        multiple; the others have the index -1 and the loss 0. ``mask`` as in one codebook.

        Raises:
            CodecError: another shape, or nothing was fitted yet (see :class:`.QuantizerLayer`).
            NotFiniteError: ``x`` is not finite.
        """
        in_use = self._draw() if self.quantize_dropout and self.training else self.num_quantizers
        quantized, indices, losses = self.quantize(x, mask, in_use)
        dropped = self.num_quantizers - in_use
        indices = F.pad(indices, (0, dropped), value=-1)
        losses = F.pad(losses, (0, dropped))
        if return_all_codes:
            return quantized, indices, losses, self.get_codes_from_indices(indices)
        return quantized, indices, losses

    def get_codes_from_indices(self, indices: Tensor) -> Tensor:
        """Indices int64 ``[B, ..., Q]``, of any first quantizers -> what each adds, ``[Q, *x]``."""
        return self.entries_of(indices)

    def get_output_from_indices(self, indices: Tensor) -> Tensor:
        """The sum of :meth:`get_codes_from_indices`: what :meth:`forward` returned, like ``x``."""
        return self.entries_of(indices).sum(dim=0)

    def _draw(self) -> int:
        multiple = self.quantize_dropout_multiple_of
        first = self.quantize_dropout_cutoff_index + 1
        drawn = int(torch.randint(first, self.num_quantizers + 1, ()))
        return min(math.ceil(drawn / multiple) * multiple, self.num_quantizers)


class ResidualSimVQ(ResidualLayer):
    """:class:`SimVQ`, residual: the quantiser of the codec."""

    single = SimVQ


class ResidualVQ(ResidualLayer):
    """:class:`VQ`, residual."""

    single = VQ


class ResidualEMAVQ(ResidualLayer):
    """:class:`EMAVQ`, residual."""

    single = EMAVQ


class ResidualFSQ(ResidualLayer):
    """:class:`FSQ`, residual: ``levels`` and ``num_quantizers``, and ``dim`` if it is more."""

    single = FSQ
