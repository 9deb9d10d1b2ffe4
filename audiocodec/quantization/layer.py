"""The residual quantiser as a layer of any network: layouts, masks, and a start on data.

Shapes: ``x`` is ``[B, ..., D]``, or ``[B, D, ...]`` with ``channel_first``; ``...`` is any number
of dimensions: none for vectors, one for sequences, two for images. ``Q`` quantizers; ``N`` vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

from audiocodec import ranks
from audiocodec.errors import CodecError
from audiocodec.quantization.family import codebook_config
from audiocodec.quantization.residual import ResidualQuantizer, ResidualQuantizerConfig
from audiocodec.quantization.stage import Stage, WholeStage

VECTORS_PER_ENTRY = 8
"""Vectors that the entries are fitted to, for each of them, unless ``start_vectors`` says more."""
START_STEPS = 1, 50, 200
"""The forward passes in training mode from which on vectors are collected to fit the entries."""


class QuantizerLayer(nn.Module):
    """``num_quantizers`` codebooks of one kind.

    With ``data_start``, the first forward pass in training mode fits the entries to its vectors.
    From each of ``start_steps`` on, ``start_vectors`` vectors are collected and the entries are
    fitted again: an encoder that is trained at the same time changes most in its first steps, and
    what is fitted to an untrained one is soon far away. After that they only learn. Until the first
    fit, evaluation mode is an error rather than random codes. In a distributed run all ranks take
    what the first one fitted.
    """

    started: Tensor

    def __init__(
        self,
        dim: int,
        num_quantizers: int,
        codebook: Mapping[str, Any],
        *,
        channel_first: bool,
        rotation_trick: bool,
        data_start: bool,
        start_vectors: int | None,
        start_steps: Sequence[int],
        codebook_dims: Sequence[int] = (),
    ) -> None:
        """``codebook``: settings of one codebook; its ``dim`` is ``dim`` unless it says.

        ``codebook_dims``: those of each; the last one holds for all later codebooks.
        """
        super().__init__()
        self.settings: dict[str, Any] = {
            "codebook": codebook,
            "channel_first": channel_first,
            "rotation_trick": rotation_trick,
            "data_start": data_start,
            "start_vectors": start_vectors,
            "start_steps": start_steps,
        }
        given = {name: value for name, value in codebook.items() if value is not None}
        config = codebook_config(given if codebook["kind"] == "fsq" else {"dim": dim, **given})
        widest = max([config.dim, *codebook_dims])
        if widest > dim:
            raise CodecError(f"codebook_dim: at most dim, which is {dim}, not {widest}")
        values = {
            "num_codebooks": num_quantizers,
            "dims": tuple(codebook_dims),
            "codebook": config,
            "estimator": "rotation_trick" if rotation_trick else "straight_through",
        }
        settings = ResidualQuantizerConfig.from_mapping(values, source=type(self).__name__)
        self.dim = dim
        self.num_quantizers = num_quantizers
        self.codebook_size = config.size
        self.channel_first = channel_first
        self.start_vectors = start_vectors or VECTORS_PER_ENTRY * config.size
        self.quantizer = ResidualQuantizer(
            dim, settings, WholeStage if config.dim == dim else Stage
        )
        self.register_buffer("started", torch.tensor(not data_start))
        self._fitted = not data_start  # a copy of `started` that no one waits for on a GPU
        self._steps = 0
        self._starts = sorted(start_steps) if data_start else []
        self._seen: list[Tensor] = []
        self.register_load_state_dict_post_hook(_take_over)

    @torch.no_grad()
    def initialise(self, vectors: Tensor, generator: torch.Generator | None = None) -> None:
        """Fit the entries to vectors ``[N, D]``. The start on data does this; or do it yourself.

        Raises:
            CodecError: another shape, fewer than two vectors, or vectors that vary too little.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim or len(vectors) < 2:
            raise CodecError(
                f"{type(self).__name__}: it is fitted to vectors of shape [N, {self.dim}], at "
                f"least two of them, not {list(vectors.shape)}"
            )
        generator = generator or torch.Generator().manual_seed(0)
        try:
            self.quantizer.initialise(vectors.to(self.quantizer.center.dtype), generator)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise CodecError(
                f"{type(self).__name__}: its entries cannot be fitted to vectors that vary too "
                f"little ({error}); give it more varied batches, or initialisation='random'"
            ) from None
        if ranks.world_size() > 1:
            for tensor in [*self.parameters(), *self.buffers()]:
                distributed.broadcast(tensor.data, 0)
        self.started.fill_(True)
        self._fitted = True

    def quantize(
        self, x: Tensor, mask: Tensor | None, num_quantizers: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``x`` -> quantized, like ``x``; indices int64 ``[B, ..., Q]``; losses ``[Q]``.

        Where ``mask [B, ...]`` is false, quantized is 0 and the indices are -1, and nothing is
        learned.
        """
        rows = self._rows(x)
        valid = self._valid(rows, mask)
        vectors = rows.flatten(0, -2) if valid is None else rows[valid]
        precision = torch.promote_types(vectors.dtype, torch.float32)
        vectors = vectors.to(precision)
        if self.training and self._starts:
            self._start(vectors.detach())
        elif not self._fitted:
            raise CodecError(
                f"{type(self).__name__}: its entries have not been fitted to data; run a batch in "
                "training mode first, load weights, call initialise(vectors), or choose "
                "initialisation='random'"
            )
        in_use = num_quantizers or self.num_quantizers
        if len(vectors) or (self.training and ranks.world_size() > 1):  # all ranks learn together
            output = self.quantizer(vectors.T.unsqueeze(0), in_use)
            outputs = output.latents[0].T
            codes = output.codes[0].T
            losses = output.stage_losses if len(vectors) else vectors.new_zeros(in_use)
        else:
            outputs, losses = vectors, vectors.new_zeros(in_use)
            codes = torch.empty(0, in_use, dtype=torch.int64, device=x.device)
        outputs = outputs.to(x.dtype)
        if valid is None:
            quantized, indices = outputs.view(rows.shape), codes.view(*rows.shape[:-1], in_use)
        else:
            quantized = torch.zeros_like(rows).masked_scatter(valid.unsqueeze(-1), outputs)
            indices = codes.new_full((*rows.shape[:-1], in_use), -1)
            indices[valid] = codes
        return self._like_x(quantized), indices, losses

    def entries_of(self, indices: Tensor) -> Tensor:
        """Indices int64 ``[B, ..., Q]``, of any first quantizers -> what each adds, ``[Q, *x]``.

        The first has the mean of the data, so that the sum is the quantised ``x``. -1 adds nothing.
        """
        if indices.shape[-1] > self.num_quantizers or indices.is_floating_point():
            raise CodecError(
                f"{type(self).__name__}: indices are whole numbers [..., Q] of at most "
                f"{self.num_quantizers} quantizers, not {indices.dtype} {list(indices.shape)}"
            )
        if (
            indices.numel()
            and not -1 <= int(indices.min()) <= int(indices.max()) < self.codebook_size
        ):
            raise CodecError(
                f"{type(self).__name__}: indices lie in -1 ... {self.codebook_size - 1}"
            )
        found: list[Tensor] = []
        for stage, codes in zip(self.quantizer.stages, indices.unbind(-1), strict=False):
            there = (codes >= 0).unsqueeze(-1)
            entries = stage.decode(codes.clamp(min=0).reshape(1, -1)).transpose(1, 2)
            if not found:
                entries = entries + self.quantizer.center.T
            found.append(self._like_x(entries.view(*codes.shape, self.dim) * there))
        return torch.stack(found)

    @property
    def codebooks(self) -> Tensor:
        """What each entry adds, ``[Q, codebook_size, D]``, as in :meth:`entries_of`."""
        every = torch.arange(self.codebook_size, device=self.quantizer.center.device).unsqueeze(0)
        found = torch.cat([stage.decode(every) for stage in self.quantizer.stages])
        return torch.cat([found[:1] + self.quantizer.center, found[1:]]).transpose(1, 2)

    def _rows(self, x: Tensor) -> Tensor:
        """``x`` with its channels last."""
        axis = 1 if self.channel_first else -1
        if x.ndim < 2 or x.shape[axis] != self.dim or not x.is_floating_point():
            layouts = f"[B, ..., {self.dim}]", f"[B, {self.dim}, ...]"
            raise CodecError(
                f"{type(self).__name__}: x is a float tensor {layouts[self.channel_first]} with "
                f"channel_first={self.channel_first}, and {layouts[not self.channel_first]} with "
                f"channel_first={not self.channel_first}, not {x.dtype} {list(x.shape)}"
            )
        return x.movedim(1, -1) if self.channel_first else x

    def _like_x(self, rows: Tensor) -> Tensor:
        return rows.movedim(-1, 1) if self.channel_first else rows

    def _valid(self, rows: Tensor, mask: Tensor | None) -> Tensor | None:
        if mask is None:
            return None
        if mask.shape != rows.shape[:-1]:
            raise CodecError(
                f"{type(self).__name__}: mask has the shape of x without channels, "
                f"{list(rows.shape[:-1])}, not {list(mask.shape)}"
            )
        return mask.bool()

    def _start(self, vectors: Tensor) -> None:
        """Fit to the first batch, and to ``start_vectors`` vectors from each start on."""
        self._steps += 1
        if self._fitted and self._steps < self._starts[0]:
            return
        self._seen.append(vectors)
        count = sum(map(len, self._seen))
        # One rank may have fewer valid vectors; all fit at the same step.
        count = int(ranks.least(torch.tensor(count, device=vectors.device)))
        enough = count >= self.start_vectors
        if enough or (count >= 2 and not self._fitted):
            self.initialise(torch.cat(self._seen))
        if enough:
            self._seen = []
            self._starts = [step for step in self._starts if step > self._steps]


def _take_over(layer: nn.Module, _: object) -> None:
    """Of loaded weights: they have been fitted already, or not."""
    assert isinstance(layer, QuantizerLayer)
    layer._fitted = bool(layer.started)
    if layer._fitted:
        layer._starts, layer._seen = [], []
