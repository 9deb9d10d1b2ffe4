"""SimVQ: one learned linear map behind a frozen codebook (Zhu et al. 2024, arXiv 2411.02038).

The entries are ``C W + b``, where ``C [size, d]`` is frozen and ``W [d, d]``, ``b [d]`` are
learned. A gradient that reaches ``W`` through a few chosen entries moves the whole table, so
entries that are never chosen follow those that are, and none dies. For a step of SGD with rate
``lr`` on ``W`` alone, entry ``i`` moves by ``-lr c_i sum_j c_j^T dL/de_j`` (Su,
kexue.fm/archives/10519).
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from audiocodec.quantization.codebook import CodebookConfig, TableCodebook, kmeans


class SimVQConfig(CodebookConfig):
    """What SimVQ learns, the shape of its map, and where its table starts."""

    kind: Literal["simvq"] = "simvq"
    learn: Literal["transform", "codebook_and_transform"] = "transform"
    transform: Literal["full", "diagonal"] = "full"
    start: Literal["default", "whitened", "data"] = "data"
    """``default``: Gaussian ``C`` of standard deviation ``d^-0.5``, ``W = I``, whatever the data.
    ``whitened``: Gaussian ``C``, ``W`` and ``b`` such that the entries have the data's mean and
    covariance. ``data``: ``C`` is the k-means centres of the data, ``W = I``."""


class SimVQ(TableCodebook):
    """Entries ``C W + b``; by default only ``W`` and ``b`` are learned."""

    Config: ClassVar[type[CodebookConfig]] = SimVQConfig
    frozen: Tensor

    def __init__(self, config: SimVQConfig) -> None:
        super().__init__(config)
        self.start_kind = config.start
        frozen = torch.randn(self.size, self.dim) * self.dim**-0.5
        if config.learn == "transform":
            self.register_buffer("frozen", frozen)
        else:
            self.frozen = nn.Parameter(frozen)
        diagonal = config.transform == "diagonal"
        self.transform = nn.Parameter(torch.ones(self.dim) if diagonal else torch.eye(self.dim))
        self.bias = nn.Parameter(torch.zeros(self.dim))

    def table(self) -> Tensor:
        with torch.autocast(self.bias.device.type, enabled=False):
            if self.transform.dim() == 1:
                return self.frozen * self.transform + self.bias
            return self.frozen @ self.transform + self.bias

    @torch.no_grad()
    def start(self, vectors: Tensor, generator: torch.Generator) -> None:
        if self.start_kind == "default":
            return
        diagonal = self.transform.dim() == 1
        mean = vectors.mean(dim=0)
        if self.start_kind == "data":
            self.frozen.copy_(kmeans(vectors, self.size, generator))
            self.transform.copy_(torch.ones(self.dim) if diagonal else torch.eye(self.dim))
            self.bias.zero_()
            return
        covariance = torch.cov((vectors - mean).T).reshape(self.dim, self.dim)
        spread = covariance.diagonal().sqrt()
        if not diagonal:
            jitter = 1e-6 * covariance.diagonal().mean() * torch.eye(self.dim).to(covariance)
            spread = torch.linalg.cholesky(covariance + jitter).T
        self.transform.copy_(spread * self.dim**0.5)
        self.bias.copy_(mean)
