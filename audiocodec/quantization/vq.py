"""Plain vector quantisation: a table whose entries are learned one by one, by gradient."""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from audiocodec.quantization.codebook import CodebookConfig, TableCodebook, gaussian_table
from audiocodec.quantization.kmeans import kmeans


class VQConfig(CodebookConfig):
    """Plain VQ (van den Oord et al. 2017, arXiv 1711.00937), both losses by gradient."""

    kind: Literal["vq"] = "vq"
    initialisation: Literal["random", "kmeans"] = "kmeans"


class VQCodebook(TableCodebook):
    """Only entries that were chosen receive a gradient; the others stay where they are."""

    Config: ClassVar[type[CodebookConfig]] = VQConfig

    def __init__(self, config: VQConfig) -> None:
        super().__init__(config)
        self.initialisation = config.initialisation
        self.entries = nn.Parameter(gaussian_table(self.size, self.dim))

    def table(self) -> Tensor:
        return self.entries

    @torch.no_grad()
    def initialise(self, vectors: Tensor, generator: torch.Generator) -> None:
        if self.initialisation == "kmeans":
            self.entries.copy_(kmeans(vectors, self.size, generator))
