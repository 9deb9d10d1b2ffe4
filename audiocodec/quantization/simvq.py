"""SimVQ: one learned linear map behind a frozen codebook (Zhu et al. 2024, arXiv 2411.02038).

The entries are ``C W + b``, where ``C [size, d]`` is frozen and ``W [d, d]``, ``b [d]`` are
learned. A gradient that reaches ``W`` through a few chosen entries moves the whole table, so
entries that are never chosen follow those that are, and none dies. For a step of SGD with rate
``lr`` on ``W`` alone, entry ``i`` moves by ``-lr c_i sum_j c_j^T dL/de_j`` (Su,
kexue.fm/archives/10519).
"""

from typing import Annotated, Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from audiocodec.quantization.codebook import CodebookConfig, TableCodebook, gaussian_table
from audiocodec.quantization.kmeans import kmeans
from audiocodec.quantization.usage import EntryUsage


class SimVQConfig(CodebookConfig):
    """What SimVQ learns, the shape of its map, and how its table is initialised."""

    kind: Literal["simvq"] = "simvq"
    learn: Literal["transform", "codebook_and_transform"] = "transform"
    transform: Literal["full", "diagonal", "orthogonal"] = "full"
    """``orthogonal``: ``W = exp(A - A^T)``, a rotation: entries keep their distances."""
    distribution: Literal["gaussian", "uniform"] = "gaussian"
    """How ``C`` is drawn, with a standard deviation of ``d^-0.5`` either way."""
    initialisation: Literal["random", "whitened", "kmeans"] = "kmeans"
    """``random``: ``C`` as drawn, ``W = I``, whatever the data. ``whitened``: ``W`` and ``b`` such
    that the entries have the data's mean and covariance; where ``W`` can only rotate, ``C`` takes
    the covariance. ``kmeans``: ``C`` is the k-means centres of the data, ``W = I``. Entries are
    random until :meth:`Codebook.initialise` is called."""
    reset_threshold: Annotated[float, pydantic.Field(ge=0, lt=1)] = pydantic.Field(
        0.0, description="entries used less than this share of even use are reset; 0: never"
    )
    decay: Annotated[float, pydantic.Field(gt=0, lt=1)] = pydantic.Field(
        0.99, description="share of its old average that a step leaves to an entry's use"
    )

    def computation(self) -> dict[str, Any]:
        return {**super().computation(), "transform": self.transform}


class SimVQCodebook(TableCodebook):
    """Entries ``C W + b``; by default only ``W`` and ``b`` are learned."""

    Config: ClassVar[type[CodebookConfig]] = SimVQConfig
    frozen: Tensor

    def __init__(self, config: SimVQConfig) -> None:
        super().__init__(config)
        self.initialisation = config.initialisation
        self.distribution = config.distribution
        self.shape = config.transform
        frozen = self._draw(None)
        if config.learn == "transform":
            self.register_buffer("frozen", frozen)
        else:
            self.frozen = nn.Parameter(frozen)
        self.transform = nn.Parameter(self._identity())
        self.bias = nn.Parameter(torch.zeros(self.dim))
        resets = config.reset_threshold > 0
        self.usage = EntryUsage(self.size, config.decay, config.reset_threshold) if resets else None
        self.updates_online = resets

    def matrix(self) -> Tensor:
        """``W [d, d]``, differentiable."""
        if self.shape == "orthogonal":
            return torch.linalg.matrix_exp(self.transform - self.transform.T)
        return self.transform.diag() if self.shape == "diagonal" else self.transform

    def table(self) -> Tensor:
        with torch.autocast(self.bias.device.type, enabled=False):
            # The gradient of W needs the C of now, and a dead-code reset writes into it before.
            frozen = self.frozen if self.usage is None else self.frozen.clone()
            if self.shape == "diagonal":
                return frozen * self.transform + self.bias
            return frozen @ self.matrix() + self.bias

    @torch.no_grad()
    def update_online(self, vectors: Tensor, codes: Tensor) -> None:
        """A dead entry is reset through the map: ``c = (vector - b) W^-1``."""
        if self.usage is None:
            return
        dead, fresh = self.usage.reset_dead(vectors, self.usage.add(codes))
        if len(dead):
            self.frozen[dead] = torch.linalg.solve(self.matrix(), fresh - self.bias, left=False)

    @torch.no_grad()
    def initialise(self, vectors: Tensor, generator: torch.Generator) -> None:
        if self.usage is not None:
            self.usage.restart()
        if self.initialisation == "random":
            return
        self.transform.copy_(self._identity())
        if self.initialisation == "kmeans":
            self.frozen.copy_(kmeans(vectors, self.size, generator))
            self.bias.zero_()
            return
        mean = vectors.mean(dim=0)
        covariance = torch.cov((vectors - mean).T).reshape(self.dim, self.dim)
        jitter = 1e-6 * covariance.diagonal().mean() * torch.eye(self.dim).to(covariance)
        spread = torch.linalg.cholesky(covariance + jitter).T * self.dim**0.5
        if self.shape == "full":
            self.transform.copy_(spread)
        elif self.shape == "diagonal":
            self.transform.copy_(covariance.diagonal().sqrt() * self.dim**0.5)
        else:
            self.frozen.copy_(self._draw(generator).to(spread) @ spread)
        self.bias.copy_(mean)

    def _draw(self, generator: torch.Generator | None) -> Tensor:
        """A random ``C [size, d]``."""
        if self.distribution == "gaussian":
            return gaussian_table(self.size, self.dim, generator)
        table = torch.empty(self.size, self.dim)
        if table.is_meta:
            return table
        return (table.uniform_(generator=generator) * 2 - 1) * (3 / self.dim) ** 0.5

    def _identity(self) -> Tensor:
        """The parameter of ``W = I``."""
        if self.shape == "diagonal":
            return torch.ones(self.dim)
        nothing = torch.zeros(self.dim, self.dim)
        return nothing if self.shape == "orthogonal" else nothing.fill_diagonal_(1)
