"""Vector quantisation by moving averages: an online k-means with dead-code resets."""

from typing import Annotated, ClassVar, Literal

import pydantic
import torch
from torch import Tensor

from audiocodec import ranks
from audiocodec.quantization.codebook import CodebookConfig, TableCodebook, gaussian_table
from audiocodec.quantization.kmeans import kmeans
from audiocodec.quantization.usage import EntryUsage


class EMAVQConfig(CodebookConfig):
    """VQ whose entries are moving averages (van den Oord et al. 2017, appendix A.1)."""

    kind: Literal["ema_vq"] = "ema_vq"
    initialisation: Literal["random", "kmeans"] = "kmeans"
    decay: Annotated[float, pydantic.Field(gt=0, lt=1)] = pydantic.Field(
        0.99, description="share of the old average that a step keeps"
    )
    reset_threshold: Annotated[float, pydantic.Field(ge=0, lt=1)] = pydantic.Field(
        0.02, description="entries used less than this share of even use are reset; 0: never"
    )


class EMAVQCodebook(TableCodebook):
    """Each entry is the moving average of the vectors that chose it; no gradient moves it."""

    Config: ClassVar[type[CodebookConfig]] = EMAVQConfig
    updates_online = True
    entries: Tensor

    def __init__(self, config: EMAVQConfig) -> None:
        super().__init__(config)
        self.initialisation = config.initialisation
        self.register_buffer("entries", gaussian_table(self.size, self.dim))
        self.usage = EntryUsage(self.size, config.decay, config.reset_threshold)

    def table(self) -> Tensor:
        return self.entries

    @torch.no_grad()
    def update_online(self, vectors: Tensor, codes: Tensor) -> None:
        """With counts ``c`` and sums ``m = c e`` averaged alike, the new ``m / c`` is

            ``e + (1 - decay) (sum of the vectors - their number e) / c``

        which leaves an entry that was not chosen exactly where it is. The sums are those of all
        ranks.
        """
        seen = self.usage.add(codes)
        sums = ranks.total(torch.zeros_like(self.entries).index_add_(0, codes, vectors))
        rate = (1 - self.usage.decay) * (self.size / int(seen.sum()))
        move = (sums - seen.unsqueeze(1) * self.entries) * rate
        self.entries += move / self.usage.counts.clamp(min=1e-12).unsqueeze(1)
        dead, fresh = self.usage.reset_dead(vectors, seen)
        self.entries[dead] = fresh

    @torch.no_grad()
    def initialise(self, vectors: Tensor, generator: torch.Generator) -> None:
        self.usage.restart()
        if self.initialisation == "kmeans":
            self.entries.copy_(kmeans(vectors, self.size, generator))
