"""Finite scalar quantisation: a grid instead of a table (Mentzer et al. 2023, arXiv 2309.15505).

Each of a few dimensions is rounded to one of ``L`` levels, in units where the grid spans about
-1 ... 1, and a code is the indices of the levels as one number, first dimension fastest. Here the
grid has a ``spread`` and an ``offset`` in each dimension, so that its output is near its input,
as a residual stack needs; at 1 and 0, the initial values, this is the published quantiser.
"""

from copy import deepcopy
from math import prod
from typing import Annotated, Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from audiocodec.quantization.codebook import Codebook, CodebookConfig, FrozenCodebook

PUBLISHED_LEVELS = {
    prod(levels): levels
    for levels in ((8, 6, 5), (8, 5, 5, 5), (7, 5, 5, 5, 5), (8, 8, 8, 6, 5), (8, 8, 8, 5, 5, 5))
}
"""Size -> levels (section 4.1 of the paper): about 2^8, 2^10, 2^12, 2^14 and 2^16 entries."""


class FSQConfig(CodebookConfig):
    """The grid. ``size`` and ``dim`` follow from ``levels``; with ``size`` alone, the published
    levels of that size."""

    kind: Literal["fsq"] = "fsq"
    levels: tuple[Annotated[int, pydantic.Field(ge=3)], ...] = pydantic.Field(
        (8, 5, 5, 5), validate_default=True
    )
    bound: Literal["clamp", "tanh"] = "clamp"
    """How values are brought inside the grid before they are rounded. ``tanh`` is the paper's: the
    decoder has to undo it. ``clamp`` finds the nearest entry, so that least is left."""
    initialisation: Literal["published", "fitted"] = "fitted"
    """``published``: the paper's grid, whatever the data. ``fitted``: the spread and offset that
    leave least of the data, dimension by dimension."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _follow_from_levels(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        levels = values.get("levels", PUBLISHED_LEVELS.get(values.get("size", 1000), ()))
        if not isinstance(levels, list | tuple) or not all(isinstance(n, int) for n in levels):
            return values
        follows = {"size": prod(levels), "dim": len(levels)} if levels else {}
        return {**follows, **values, "levels": levels}

    @pydantic.field_validator("levels")
    @classmethod
    def _agree(cls, levels: tuple[int, ...], info: pydantic.ValidationInfo) -> tuple[int, ...]:
        size, dim = info.data.get("size", prod(levels)), info.data.get("dim", len(levels))
        if not levels:
            sizes = ", ".join(map(str, PUBLISHED_LEVELS))
            raise ValueError(
                f"none are published for `size` {size}: give levels that multiply to it, or one "
                f"of the sizes {sizes}"
            )
        if prod(levels) != size:
            product = " x ".join(map(str, levels))
            raise ValueError(f"{product} is {prod(levels)}, and `size` must be that, not {size}")
        if len(levels) != dim:
            raise ValueError(f"there are {len(levels)}, and `dim` must be that, not {dim}")
        return levels

    def computation(self) -> dict[str, Any]:
        return {**super().computation(), "levels": self.levels, "bound": self.bound}


class FSQCodebook(Codebook):
    """A grid whose spread and offset are learned; its table is never written down."""

    Config: ClassVar[type[CodebookConfig]] = FSQConfig
    spread: Tensor
    offset: Tensor

    def __init__(self, config: FSQConfig) -> None:
        super().__init__(config)
        self.initialisation = config.initialisation
        self.bound = config.bound
        self.levels = config.levels
        self.spread = nn.Parameter(torch.ones(self.dim))
        self.offset = nn.Parameter(torch.zeros(self.dim))

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        vectors = vectors.to(torch.promote_types(vectors.dtype, self.spread.dtype))
        digits = self._digits((vectors - self.offset) / self.spread)
        code = torch.zeros_like(digits[..., 0])
        for digit, count in zip(digits.flip(-1).unbind(-1), reversed(self.levels), strict=True):
            code = code * count + digit
        return code

    def lookup(self, codes: Tensor) -> Tensor:
        digits = []
        for count in self.levels:
            digits.append(codes % count)
            codes = codes // count
        return self._grid(torch.stack(digits, dim=-1)) * self.spread + self.offset

    @torch.no_grad()
    def initialise(self, vectors: Tensor, generator: torch.Generator) -> None:
        self.spread.fill_(1)
        self.offset.zero_()
        if self.initialisation == "published":
            return
        mean, deviation = vectors.mean(dim=0), vectors.std(dim=0).clamp(min=1e-6)
        # A grid of an even number of levels is not centred on zero.
        levels = vectors.new_tensor(self.levels)
        centre = (1 - levels.remainder(2)) / levels
        spreads = torch.linspace(0.5, 4, 71).to(vectors).unsqueeze(1) * deviation
        left = []
        for spread in spreads:
            units = (vectors - mean) / spread - centre
            left.append((self._grid(self._digits(units)) - units).square().mean(dim=0) * spread**2)
        best = torch.stack(left).argmin(dim=0)
        self.spread.copy_(spreads.gather(0, best.unsqueeze(0))[0])
        self.offset.copy_(mean + centre * self.spread)

    def freeze(self) -> FrozenCodebook:
        return FrozenGrid(self)

    def _digits(self, units: Tensor) -> Tensor:
        """Values in units of the grid ``[..., d]`` -> indices of levels, int64 ``[..., d]``."""
        levels = units.new_tensor(self.levels)
        below = levels.div(2, rounding_mode="floor")
        if self.bound == "clamp":
            return ((units * below).round().clamp(-below, levels - 1 - below) + below).long()
        # The paper's `bound`: tanh with its ends just outside the outermost levels.
        half = (levels - 1) * (1 + 1e-3) / 2
        even = (1 - levels.remainder(2)) / 2
        inside = torch.tanh(units + torch.atanh(even / half)) * half - even
        return (inside.round() + below).long()

    def _grid(self, digits: Tensor) -> Tensor:
        """Indices of levels ``[..., d]`` -> values in units of the grid, ``[..., d]``."""
        below = self.spread.new_tensor(self.levels).div(2, rounding_mode="floor")
        return (digits - below) / below


class FrozenGrid(FrozenCodebook):
    """A grid in use: values are rounded, not compared with every entry."""

    def __init__(self, grid: FSQCodebook) -> None:
        self._grid = deepcopy(grid).requires_grad_(False)
        every = torch.arange(grid.size, device=grid.spread.device)
        super().__init__(grid.lookup(every))

    def nearest(self, vectors: Tensor) -> Tensor:
        return self._grid.nearest(vectors)
