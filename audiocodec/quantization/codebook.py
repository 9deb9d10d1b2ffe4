"""The contract of a codebook, and what codebooks with an explicit table share.

A codebook turns vectors into codes (:meth:`Codebook.nearest`) and codes into entries
(:meth:`Codebook.lookup`), says what training should minimise (:meth:`Codebook.loss`), may be
initialised on data (:meth:`Codebook.initialise`) and may learn from what was chosen without a
gradient (:meth:`Codebook.update_online`). It knows nothing of stages or audio.

Shapes: ``N`` vectors, ``d`` = ``dim``.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.config import Config

MAX_SIZE = 2**18
SEARCH_ELEMENTS = 2**20
"""Scores held at once by a search on a CPU: 4 MiB in float32, small enough for its cache."""
GPU_SEARCH_ELEMENTS = 2**24
"""The same elsewhere: 64 MiB, large enough to keep a GPU busy."""
LEAST_SEARCH_ROWS = 16
"""A matrix product of fewer rows at a time is slower than the cache is worth."""
SEARCH_BLOCK = 128
"""Scores whose least is found at once; :data:`FEW_BLOCK` where the few least are sought."""
FEW_BLOCK = 32
FLAT_CENTRES = 2**13
"""The most centres that k-means compares with every vector."""


class CodebookConfig(Config):
    """What every kind of codebook is told."""

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
        """What codes and entries depend on beside the weights; a kind adds what it has more.

        See :meth:`audiocodec.codec.CodecConfig.computation`.
        """
        return {"kind": self.kind, "size": self.size, "dim": self.dim}


class Codebook(nn.Module):
    """One stage's set of vectors. A member of the family overrides what makes it different."""

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
        """Fit the entries to data ``[N, d]`` before they are first used. Default: nothing."""

    def update_online(self, vectors: Tensor, codes: Tensor) -> None:
        """Learn from ``vectors [N, d]``, N > 0, and the ``codes [N]`` chosen for them, without a
        gradient. Default: nothing.

        Called once a training step, after the step's entries were looked up.
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


@torch.no_grad()
def nearest_entries(vectors: Tensor, table: Tensor) -> Tensor:
    """Index of the nearest entry: ``argmin_e ||e||^2 - 2 z.e``, ``[N, d], [size, d]`` -> ``[N]``.

    Of equally near entries the first wins.
    """
    return torch.cat([_least_of_blocks(blocks) for blocks in _scores(vectors, table)])


def least_of_rows(scores: Tensor) -> Tensor:
    """Where the least of each row is, the first if there are several: ``[N, size]`` -> ``[N]``."""
    if len(scores) < LEAST_SEARCH_ROWS or scores.shape[1] % SEARCH_BLOCK:
        return scores.argmin(dim=1)
    return _least_of_blocks(scores.unflatten(1, (-1, SEARCH_BLOCK)))


def least_few_of_rows(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` least of each row, least first, and where: ``[N, size]`` -> ``[N, n]`` both.

    ``n`` is ``count``, or ``size`` if that is less. They are sought in the ``count`` blocks whose
    least values are least, which hold them all.
    """
    rows, size = scores.shape
    count = min(count, size)
    if size % FEW_BLOCK or count > size // FEW_BLOCK // 2:
        least, place = scores.topk(count, dim=1, largest=False)
        return least, place
    number = size // FEW_BLOCK
    blocks = scores.view(rows * number, FEW_BLOCK)
    first = blocks.amin(dim=1).view(rows, number).topk(count, dim=1, largest=False).indices
    start = torch.arange(rows, device=scores.device).unsqueeze(1) * number
    tried = blocks.index_select(0, (start + first).flatten()).view(rows, count * FEW_BLOCK)
    least, place = tried.topk(count, dim=1, largest=False)
    return least, first.gather(1, place // FEW_BLOCK) * FEW_BLOCK + place % FEW_BLOCK


def _least_of_blocks(blocks: Tensor) -> Tensor:
    """The same of rows in blocks, ``[N, blocks, block]``.

    On a CPU the least value of a row is found some ten times faster than its place: so the first
    block that has it, and then the place within that block.
    """
    block = blocks.amin(dim=2).argmin(dim=1)
    place = blocks[torch.arange(len(block), device=block.device), block].argmin(dim=1)
    return block * blocks.shape[2] + place


def _scores(vectors: Tensor, table: Tensor) -> Iterator[Tensor]:
    """``||e||^2 - 2 z.e`` of every vector and entry, some rows at a time: ``[n, blocks, block]``.

    What is yielded is overwritten by the next. A row is ``size`` scores and then infinities that
    fill its last block. Memory does not grow with ``N``. Never below float32, whatever autocast
    says.
    """
    if vectors.dtype in (torch.float16, torch.bfloat16):
        vectors = vectors.float()
    table = table.to(vectors.dtype)
    size = table.shape[0]
    block = min(size, SEARCH_BLOCK)
    padded = -(-size // block) * block
    pieces = search_pieces(vectors, padded)
    with torch.autocast(vectors.device.type, enabled=False):
        norms = table.square().sum(dim=1)
        scores = vectors.new_full((len(pieces[0]), padded), torch.inf)
        for piece in pieces:
            rows = scores[: len(piece)]
            torch.addmm(norms, piece, table.T, alpha=-2, out=rows[:, :size])
            yield rows.unflatten(1, (-1, block))


def search_pieces(vectors: Tensor, size: int) -> tuple[Tensor, ...]:
    """``[N, *]`` in pieces whose ``size`` scores each are held at once."""
    most = SEARCH_ELEMENTS if vectors.device.type == "cpu" else GPU_SEARCH_ELEMENTS
    return vectors.split(max(LEAST_SEARCH_ROWS, most // size))


def kmeans(vectors: Tensor, size: int, generator: torch.Generator, iterations: int = 12) -> Tensor:
    """``size`` centres of ``vectors [N, d]`` by Lloyd's iteration from random distinct vectors.

    A centre that loses all its vectors is moved to a random vector. With fewer vectors than
    centres, vectors are repeated with a little noise so that no two centres agree. More than
    :data:`FLAT_CENTRES` are found at two levels: `sqrt(size)` groups, and within each group as
    many centres as its share of the vectors. For 65,536 that is a hundredth of the work, and of
    vectors that were not among these it leaves no more.
    """
    count = len(vectors)
    if count < size:
        order = torch.randperm(count, generator=generator)
        picks = order.repeat(-(-size // count))[:size].to(vectors.device)
        noise = torch.randn(size, vectors.shape[1], generator=generator).to(vectors)
        return vectors[picks] + 0.01 * vectors.std() * noise
    if size <= FLAT_CENTRES:
        return _lloyd(vectors, size, generator, iterations)
    coarse = _lloyd(vectors, math.isqrt(size), generator, iterations)
    groups = nearest_entries(vectors, coarse)
    members = vectors[groups.argsort(stable=True)]
    lengths = groups.bincount(minlength=len(coarse))
    # Shares rounded so that they add up to `size`; as N >= size, no group gets more than it has.
    ends = lengths.cumsum(0) * size // count
    shares = ends.diff(prepend=ends.new_zeros(1))
    return torch.cat(
        [
            _lloyd(group, share, generator, iterations)
            for group, share in zip(members.split(lengths.tolist()), shares.tolist(), strict=True)
            if share
        ]
    )


def _lloyd(vectors: Tensor, size: int, generator: torch.Generator, iterations: int) -> Tensor:
    """``size`` centres of at least as many vectors, all of them compared with all."""
    count, dim = vectors.shape
    picks = torch.randperm(count, generator=generator)[:size].to(vectors.device)
    centres = vectors[picks].clone()
    ones = vectors.new_ones(count)
    for _ in range(iterations):
        codes = nearest_entries(vectors, centres)
        sums = vectors.new_zeros(size, dim).index_add_(0, codes, vectors)
        counts = vectors.new_zeros(size).index_add_(0, codes, ones)
        empty = counts == 0
        centres = sums / counts.clamp(min=1).unsqueeze(1)
        fresh = torch.randint(count, (int(empty.sum()),), generator=generator)
        centres[empty] = vectors[fresh.to(vectors.device)]
    return centres
