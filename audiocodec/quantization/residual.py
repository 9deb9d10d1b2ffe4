"""The residual quantiser in training: a stack of codebooks, each coding the residual of those
before it.

Residuals and losses are computed in the latents' own space. There, no loss falls when a stage
shrinks its projected vectors, and the best projection leaves the smallest residual to the next
stage.

Shapes: ``B`` batch, ``D`` latent_dim, ``F`` frames, ``K`` stages in use, ``d`` codebook dim.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any, Literal, NamedTuple, Self, cast

import pydantic
import torch
from torch import Tensor, nn

from audiocodec import ranks
from audiocodec.config import Config
from audiocodec.errors import NotFiniteError
from audiocodec.quantization.codebook import CodebookConfig
from audiocodec.quantization.estimators import ESTIMATORS
from audiocodec.quantization.family import codebook_config
from audiocodec.quantization.stage import Stage


class ResidualQuantizerConfig(Config):
    """Number of stages, the codebook of each, and how a gradient passes them."""

    num_codebooks: Annotated[int, pydantic.Field(ge=1, le=64)] = 12
    dims: tuple[Annotated[int, pydantic.Field(ge=1, le=16_384)], ...] = pydantic.Field(
        (),
        description="dimensions of the stages' codebooks; the last one holds for all later stages; "
        "empty: the codebook's `dim` for all",
    )
    codebook: pydantic.SerializeAsAny[CodebookConfig] = pydantic.Field(
        default_factory=lambda: codebook_config({"kind": "simvq"})
    )
    estimator: Literal["straight_through", "rotation_trick"] = "straight_through"

    @pydantic.field_validator("codebook", mode="before")
    @classmethod
    def _of_its_kind(cls, values: Any) -> Any:
        return codebook_config(values) if isinstance(values, dict) else values

    @pydantic.model_validator(mode="after")
    def _dims_make_sense(self) -> Self:
        if self.dims and self.codebook.kind == "fsq":
            raise ValueError("`dims` cannot be combined with fsq, whose `levels` determine it")
        return self

    @property
    def stages(self) -> list[CodebookConfig]:
        """The configuration of each stage's codebook, first to last."""
        dims = [*self.dims, *self.dims[-1:] * self.num_codebooks][: self.num_codebooks]
        if not dims:
            return [self.codebook] * self.num_codebooks
        return [self.codebook.model_copy(update={"dim": dim}) for dim in dims]


@dataclass
class Quantized:
    """What the quantiser did to latents."""

    latents: Tensor
    """``[B, D, F]``: the sum of the chosen entries; gradients pass to the input latents."""
    codes: Tensor
    """int64 ``[B, K, F]``."""
    loss: Tensor
    """Scalar: commitment and codebook losses, averaged over the stages in use, as shares of the
    latents' energy at initialisation."""
    stage_losses: Tensor
    """``[K]``: those of each stage, in the latents' own units."""
    residual_energy: Tensor
    """``[K + 1]``: mean square before the first stage and after each, as shares of the latents'
    energy at initialisation."""


class StageStep(NamedTuple):
    """One stage: ``residual [B, D, F]`` -> ``codes [B, F]`` -> ``quantized [B, D, F]``."""

    residual: Tensor
    codes: Tensor
    quantized: Tensor


class ResidualQuantizer(nn.Module):
    """``num_codebooks`` stages; any prefix of them is a quantiser too.

    The stages code the latents less ``center``, their mean at initialisation. Losses are shares of
    ``energy``, the mean square of what they code, at initialisation.
    """

    center: Tensor
    energy: Tensor

    def __init__(
        self, latent_dim: int, config: ResidualQuantizerConfig, stage: type[Stage] = Stage
    ) -> None:
        super().__init__()
        self.num_codebooks = config.num_codebooks
        self.latent_dim = latent_dim
        self.estimate = ESTIMATORS[config.estimator]
        stages = nn.ModuleList(stage(latent_dim, codebook) for codebook in config.stages)
        self.stages = cast(list[Stage], stages)
        self.register_buffer("center", torch.zeros(latent_dim, 1))
        self.register_buffer("energy", torch.ones(()))

    @property
    def updates_online(self) -> bool:
        """Whether a codebook learns without a gradient."""
        return any(stage.codebook.updates_online for stage in self.stages)

    def encode(self, latents: Tensor, num_codebooks: int | None = None) -> Tensor:
        """``[B, D, F]`` -> codes int64 ``[B, K, F]``: the nearest entry, stage by stage.

        Raises:
            NotFiniteError: latents, or the residual of a stage, are not finite.
        """
        with full_precision(latents):
            steps = self._steps(latents, num_codebooks)
            return torch.stack([step.codes for step in steps], dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[B, K, F]`` of any prefix of the stages -> ``[B, D, F]``, differentiable."""
        with full_precision(codes):
            pairs = zip(self.stages, codes.unbind(dim=1), strict=False)
            return self._join([stage.decode(stage_codes) for stage, stage_codes in pairs])

    def forward(self, latents: Tensor, num_codebooks: int | Tensor | None = None) -> Quantized:
        """Quantise for training.

        ``num_codebooks`` may be int64 ``[B]``: one number for each item (codebook dropout).
        In training mode, with gradients, codebooks that update online do so here, and ranks agree.

        Raises:
            NotFiniteError: latents, or the residual of a stage, are not finite, on any rank.
        """
        with full_precision(latents):
            return self._forward(latents, num_codebooks)

    def _forward(self, latents: Tensor, num_codebooks: int | Tensor | None) -> Quantized:
        learning = self.training and torch.is_grad_enabled()
        in_use = num_codebooks if isinstance(num_codebooks, Tensor) else None
        if not isinstance(num_codebooks, Tensor):
            most = num_codebooks
        elif num_codebooks.is_cuda:  # reading the number would wait for the GPU
            most = None
        else:
            most = int(ranks.most(num_codebooks.max()) if learning else num_codebooks.max())
        steps = list(self._steps(latents, most, learning))
        used, losses = [], []
        for index, (stage, step) in enumerate(zip(self.stages, steps, strict=False)):
            residual, quantized = step.residual, step.quantized
            if in_use is not None:
                # A stage that is not in use for an item neither decodes it nor learns from it.
                on = (in_use > index).to(residual).view(-1, 1, 1)
                residual, quantized = residual * on, quantized * on
            used.append(quantized)
            losses.append(stage.codebook.loss(residual, quantized))
        if self.updates_online and learning:
            for index, (stage, step) in enumerate(zip(self.stages, steps, strict=False)):
                active = slice(None) if in_use is None else in_use > index
                stage.update_online(step.residual[active], step.codes[active])
        stages_in_use: int | Tensor = len(steps)
        if in_use is not None:
            stages_in_use = ranks.mean(in_use.float().mean()) if learning else in_use.float().mean()
        residuals = [step.residual for step in steps] + [steps[-1].residual - steps[-1].quantized]
        return Quantized(
            latents=self.estimate(latents, self._join(used)),
            codes=torch.stack([step.codes for step in steps], dim=1),
            loss=torch.stack(losses).sum() / stages_in_use / self.energy,
            stage_losses=torch.stack(losses),
            residual_energy=torch.stack([x.detach().square().mean() for x in residuals])
            / self.energy,
        )

    @torch.no_grad()
    def initialise(self, latents: Tensor, generator: torch.Generator, keep: int = 0) -> None:
        """Initialise every stage on latents ``[N, D]``, each on the residual of those before it.

        A training run calls this (:mod:`audiocodec.training.initialisation`); nothing else does.
        The first ``keep`` stages, and with them center and energy, stay as they are.
        """
        if not keep:
            center = latents.mean(dim=0)
            self.center.copy_(center.unsqueeze(1))
            self.energy.copy_((latents - center).square().mean().clamp(min=1e-8))
        residual = latents - self.center.squeeze(1)
        for number, stage in enumerate(self.stages, start=1):
            if number > keep:
                stage.initialise(residual, generator)
            if number < self.num_codebooks:
                residual = residual - stage.decode(stage.encode(residual.T.unsqueeze(0)))[0].T

    def _steps(
        self, latents: Tensor, num_codebooks: int | None, learning: bool = False
    ) -> Iterator[StageStep]:
        """The search of training. Each stage codes the latents less the detached outputs of the
        stages before it."""
        residual = self._centred(latents)
        for stage in self.stages[:num_codebooks]:
            codes = stage.encode(residual)
            quantized = stage.decode(codes)
            yield StageStep(residual, codes, quantized)
            residual = residual - quantized.detach()
        self._check_finite(latents, residual, num_codebooks, learning)

    def _centred(self, latents: Tensor) -> Tensor:
        """What the stages code: ``[B, D, F]`` less the center, never below float32."""
        return latents.to(torch.promote_types(latents.dtype, torch.float32)) - self.center

    def _join(self, quantized: list[Tensor]) -> Tensor:
        """Latents from the stages' outputs, added in order, so that all callers round alike."""
        return reduce(torch.add, quantized) + self.center

    @torch.no_grad()
    def _check_finite(
        self, latents: Tensor, residual: Tensor, num_codebooks: int | None, learning: bool
    ) -> None:
        """Raise, naming the stage, unless ``residual`` is finite; while learning, on every rank.

        A value that is not finite stays so from stage to stage, so the last residual shows it.
        While a CUDA graph is recorded, no value can be read; the outputs are not finite then, too.
        """
        if residual.is_cuda and torch.cuda.is_current_stream_capturing():
            return
        finite = residual.isfinite().all()
        if bool(ranks.least(finite.int()) if learning else finite):
            return
        if bool(finite):
            raise NotFiniteError("quantizer: the latents of another rank are not all finite")
        residual = self._centred(latents)
        if not bool(residual.isfinite().all()):
            raise NotFiniteError(
                f"quantizer stage 1 of {self.num_codebooks}: the latents that come in are not all "
                "finite; check the audio and the encoder's weights"
            )
        for number, stage in enumerate(self.stages[:num_codebooks], start=1):
            residual = residual - stage.decode(stage.encode(residual))
            if not bool(residual.isfinite().all()):
                raise NotFiniteError(
                    f"quantizer stage {number} of {self.num_codebooks}: its output is not all "
                    "finite; check its weights"
                )


@contextmanager
def full_precision(like: Tensor) -> Iterator[None]:
    """No autocast: searches and residuals need float32."""
    with torch.autocast(like.device.type, enabled=False):
        yield
