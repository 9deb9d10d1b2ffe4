"""A recipe: all of one training run, typed, bounded and checked before anything runs."""

from pathlib import Path
from typing import Annotated, Self

import pydantic

from audiocodec.bundled import bundled_models
from audiocodec.codec import CodecConfig
from audiocodec.config import Config
from audiocodec.training.compute import ComputeConfig, Precision
from audiocodec.training.data.files import BUNDLED_CLIPS, DataConfig, Duration
from audiocodec.training.discriminators import DiscriminatorConfig
from audiocodec.training.losses.config import LossConfig
from audiocodec.training.losses.registry import LOSSES

MOST_STEPS = 10**9

Steps = Annotated[int, pydantic.Field(ge=1, le=MOST_STEPS)]
Step = Annotated[int, pydantic.Field(ge=0, le=MOST_STEPS)]
Rate = Annotated[float, pydantic.Field(gt=0, le=1)]
Decay = Annotated[float, pydantic.Field(ge=0, lt=1)]


class OptimizerConfig(Config):
    """AdamW, with a learning rate of its own for the quantiser."""

    learning_rate: Rate = pydantic.Field(5e-4, description="of the network, after warm-up")
    final_learning_rate: Rate = pydantic.Field(2e-5, description="at the end of the cosine")
    warmup_steps: Step = 500
    quantizer_learning_rate: Rate = pydantic.Field(
        1e-3, description="of maps, tables and projections: constant, no weight decay"
    )
    betas: tuple[Decay, Decay] = (0.8, 0.99)
    weight_decay: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    gradient_clip: Annotated[float, pydantic.Field(ge=1, le=1e6)] = pydantic.Field(
        2.0, description="largest norm of a tensor's gradient, as a multiple of its usual norm"
    )
    ema_decay: Decay = 0.999


class ScheduleConfig(Config):
    """The length of a run, the batch size, and the steps at which something happens.

    With a ``budget`` all of these steps are shares of the time: step 300 of 6000 comes after 5 %
    of it, and so do warm-up, phases, validations and averages of weights (``training/budget.py``).
    Only ``log_every`` counts training steps.
    """

    steps: Steps
    budget: Duration | None = pydantic.Field(
        None, description="time of the whole run, e.g. 25m; steps are then shares of it"
    )
    batch_size: Annotated[int, pydantic.Field(ge=1, le=65_536)] = 8
    accumulate: Annotated[int, pydantic.Field(ge=1, le=65_536)] = pydantic.Field(
        1,
        description="parts in which each process computes its share of a batch, one after the "
        "other, to fit into memory; a step is one batch whatever this is",
    )
    initialisation_steps: tuple[Step, ...] = pydantic.Field(
        (300,),
        description="steps at which the codebooks are initialised on latents; before the first, "
        "latents are not quantised unless `init_from` is set",
    )
    initialisation_frames: Annotated[int, pydantic.Field(ge=2, le=10**8)] = pydantic.Field(
        20_000, description="audible frames used for an initialisation"
    )
    codebooks: tuple[Annotated[int, pydantic.Field(ge=1)], ...] = pydantic.Field(
        (), description="codebook dropout: each item uses one of these numbers; empty: always all"
    )
    decoder_only_step: Step | None = pydantic.Field(
        None,
        description="first step with frozen encoder and codebooks; tokens keep their meaning",
    )
    log_every: Steps = 50
    validate_every: Steps = 1000
    checkpoint_every: Steps = 500
    keep_models: bool = pydantic.Field(
        False,
        description="keep the model of every checkpoint in models/STEP, for codec compare --choose",
    )


class Recipe(Config):
    """The codec, its training data, its losses and its schedule."""

    name: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**32)] = 0
    init_from: str | None = pydantic.Field(
        None,
        description="bundled model or model folder to start from, with its discriminators",
    )
    precision: Precision = pydantic.Field(
        "tf32",
        description="of the networks: tf32 (on a CPU float32), bfloat16, or bfloat16_trunk, which "
        "leaves first and last layers of encoder and decoder in float32; losses are float32",
    )
    compute: ComputeConfig = ComputeConfig()
    codec: CodecConfig = CodecConfig()
    data: DataConfig = DataConfig()
    losses: LossConfig = LossConfig()
    discriminators: DiscriminatorConfig | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig

    def with_absolute_paths(self) -> Self:
        """The same recipe with absolute paths, for use in any current folder."""
        data = {
            key: str(Path(value).expanduser().absolute())
            for key in ("root", "validation", "cache")
            if (value := getattr(self.data, key)) is not None and value != BUNDLED_CLIPS
        }
        model = self.init_from
        if (
            model is not None
            and Path(model).expanduser().is_dir()
            and model not in bundled_models()
        ):
            model = str(Path(model).expanduser().absolute())
        models = {
            name: str(Path(folder).expanduser().absolute())
            for name, folder in self.losses.models.items()
        }
        return self.model_copy(
            update={
                "data": self.data.model_copy(update=data),
                "losses": self.losses.model_copy(update={"models": models}),
                "init_from": model,
            }
        )

    @pydantic.model_validator(mode="after")
    def _is_consistent(self) -> Self:
        most = self.codec.quantizer.num_codebooks
        for number in self.schedule.codebooks:
            if number > most:
                raise ValueError(
                    f"`schedule.codebooks` has {number}, the codec has {most} codebooks"
                )
        if self.init_from is None and not self.schedule.initialisation_steps:
            raise ValueError(
                "`schedule.initialisation_steps` needs a step unless `init_from` is set"
            )
        finish, starts = self.schedule.decoder_only_step, self.schedule.initialisation_steps
        if finish is not None and starts and max(starts) >= finish:
            raise ValueError(
                f"`schedule.decoder_only_step` is {finish}, but codebooks are initialised at step "
                f"{max(starts)}; set it later than that"
            )
        hop = self.codec.seanet.hop_length
        samples = self.data.segment_seconds * self.codec.sample_rate
        if samples < hop:
            raise ValueError(f"`data.segment_seconds` is less than one frame of {hop} samples")
        latent_dim = self.codec.seanet.latent_dim
        dims = {stage.dim for stage in self.codec.quantizer.stages}
        if max(dims) > latent_dim:
            raise ValueError(
                f"`codec.quantizer` has codebooks of {max(dims)} dimensions, the latents have "
                f"{latent_dim} (`codec.seanet.latent_dim`)"
            )
        for name, loss in LOSSES.items():
            if self.losses.weight(name) > 0 and hop < loss.min_hop_length:
                raise ValueError(
                    f"`losses.{name}` needs frames of {loss.min_hop_length} samples or more, "
                    f"not {hop}"
                )
        return self
