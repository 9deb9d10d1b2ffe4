"""The nearest entry of a table, and the least of many scores, fast and in bounded memory.

Shapes: ``N`` vectors, ``d`` dimensions, ``size`` entries.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

SEARCH_ELEMENTS = 2**20
"""Scores held at once by a search on a CPU: 4 MiB in float32, small enough for its cache."""
GPU_SEARCH_ELEMENTS = 2**24
"""The same on a GPU: 64 MiB, large enough to keep it busy."""
MIN_SEARCH_ROWS = 16
"""Matrix products of fewer rows cost more time than the cache saves."""
SEARCH_BLOCK = 128
"""Scores in a block of the search for the least; :data:`FEW_BLOCK` of that for the few least."""
FEW_BLOCK = 32


@torch.no_grad()
def nearest_entries(vectors: Tensor, table: Tensor) -> Tensor:
    """Index of the nearest entry: ``argmin_e ||e||^2 - 2 z.e``, ``[N, d], [size, d]`` -> ``[N]``.

    Of equally near entries the first wins.
    """
    return torch.cat([_least_of_blocks(blocks) for blocks in _scores(vectors, table)])


def least_of_rows(scores: Tensor) -> Tensor:
    """Where the least of each row is, the first if there are several: ``[N, size]`` -> ``[N]``."""
    if len(scores) < MIN_SEARCH_ROWS or scores.shape[1] % SEARCH_BLOCK:
        return scores.argmin(dim=1)
    return _least_of_blocks(scores.unflatten(1, (-1, SEARCH_BLOCK)))


def least_few_of_rows(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` least of each row, least first, and where: ``[N, size]`` -> ``[N, n]`` both.

    ``n`` is ``count``, or ``size`` if that is less. Only the ``count`` blocks with the least
    minima are searched: they hold them all.
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
    """The same for rows in blocks, ``[N, blocks, block]``.

    On a CPU the least value of a row is found some ten times faster than its place. So the first
    block that has it is found, and then the place within that block.
    """
    block = blocks.amin(dim=2).argmin(dim=1)
    place = blocks[torch.arange(len(block), device=block.device), block].argmin(dim=1)
    return block * blocks.shape[2] + place


def _scores(vectors: Tensor, table: Tensor) -> Iterator[Tensor]:
    """``||e||^2 - 2 z.e`` of every vector and entry, some rows at a time: ``[n, blocks, block]``.

    Each piece overwrites the one before. A row is ``size`` scores, then infinities that fill its
    last block. Memory does not grow with ``N``. Never below float32, even under autocast.
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
    return vectors.split(max(MIN_SEARCH_ROWS, most // size))
