"""One training step: a batch of audio updates the codec and its discriminators.

A :class:`TrainingStep` needs a recipe and audio. It reads no files and knows no run folder.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from audiocodec.codec import Codec
from audiocodec.errors import NotFiniteError
from audiocodec.training.clipping import clip_to_usual
from audiocodec.training.compute import set_backends
from audiocodec.training.cudagraph import Graphs
from audiocodec.training.discriminators import Discriminators
from audiocodec.training.gradients import compute_gradients
from audiocodec.training.meters import MeanMeter, SkipMeter, UsageMeter, kept
from audiocodec.training.networks import Networks
from audiocodec.training.optim import (
    WeightAverage,
    codec_optimizer,
    discriminator_optimizer,
    set_learning_rates,
    step_if,
)
from audiocodec.training.parts import compute_gradients_in_parts
from audiocodec.training.processes import Processes
from audiocodec.training.recipe import Recipe
from audiocodec.training.schedule import (
    StepVariant,
    codebooks_in_use,
    learning_rates,
    loss_weights,
    step_variant,
)
from audiocodec.training.state import load_state, state_of

Numbers = dict[str, Tensor]
Update = Callable[[Tensor, Tensor, Tensor, Tensor], Numbers]


class TrainingStep:
    """A codec, its discriminators, their optimisers and the averaged weights. A call is one step.

    Args:
        recipe: what to train; weights are random, from its seed.
        device: ``cpu`` or ``cuda``.
        processes: those that train together, each with its share of a batch.
    """

    def __init__(
        self,
        recipe: Recipe,
        device: torch.device | str = "cpu",
        processes: Processes | None = None,
    ) -> None:
        self.recipe = recipe
        self.processes = processes or Processes()
        self.device = torch.device(device)
        set_backends(self.device, recipe.precision)
        torch.manual_seed(recipe.seed)
        self.codec = Codec(recipe.codec).to(self.device)
        self.optimizer = codec_optimizer(self.codec, recipe.optimizer)
        self.discriminators: Discriminators | None = None
        if recipe.discriminators is not None:
            self.discriminators = Discriminators(recipe.discriminators).to(self.device)
            self.discriminator_optimizer = discriminator_optimizer(
                self.discriminators, recipe.discriminators, recipe.optimizer, self.device
            )
        self.average = WeightAverage(self.codec, recipe.optimizer.ema_decay, recipe.name)
        self.means = MeanMeter()
        self.usage = UsageMeter(self.codec.codebook_sizes, self.device)
        self.skips = SkipMeter(self.device)
        self.residual_energy: Tensor | None = None
        """``[K + 1]``, of the last step; see ``Quantized`` in ``quantization/residual.py``."""
        # After the average, whose codec is computed as any other.
        self.networks = Networks(recipe, self.codec, self.discriminators, self.processes)
        self.trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.parts = recipe.schedule.accumulate
        """In how many parts a process computes its share of a batch, one after the other."""
        self.graphs = Graphs()

    def __call__(
        self,
        audio: Tensor,
        step: int,
        reference: Tensor | None = None,
        position: float | None = None,
        advance: float = 1.0,
    ) -> Numbers:
        """Train on ``audio [B, 1, T]`` in [-1, 1], on this device, as the recipe says for ``step``.

        Returns loss, losses and gradient norm as scalars on the device, valid until the next call;
        nothing if the quantiser met a value that is not finite.

        Args:
            audio: a batch, or this process's share of it.
            step: its number, on which random choices depend.
            reference: what the codec should return, of the same shape; by default ``audio``.
            position: in the recipe's schedule; by default ``step``.
            advance: how many steps of the schedule this one stands for.
        """
        position = step if position is None else position
        weights = loss_weights(self.recipe, position)
        names = self.discriminators.names if self.discriminators is not None else ()
        variant = step_variant(self.recipe, step, position, names)
        for part in (self.codec.encoder, self.codec.quantizer):
            part.train(not variant.decoder_only).requires_grad_(not variant.decoder_only)
        set_learning_rates(self.optimizer, learning_rates(self.recipe, position), self.device)
        batch_size, share = len(audio) * self.processes.size, self.processes.share
        in_use = codebooks_in_use(self.recipe, step, batch_size)
        if in_use is None:
            in_use = torch.full((batch_size,), self.codec.num_codebooks)
        inputs = (in_use[share.rows(batch_size)], torch.tensor(list(weights.values())))
        try:
            numbers = self._prepared(variant)(
                audio,
                audio if reference is None else reference,
                *(x.to(self.device, non_blocking=True) for x in inputs),
            )
        except NotFiniteError:
            self.skips.add(torch.tensor(False, device=self.device))
            return {}
        self.average.update(advance)
        return numbers

    def update(
        self,
        variant: StepVariant,
        audio: Tensor,
        reference: Tensor,
        in_use: Tensor,
        weights: Tensor,
    ) -> Numbers:
        """The gradients of a batch, and a step of the optimiser.

        It reads no tensor's value, so that a GPU can record it. If loss or gradient is not finite,
        weights and optimiser stay as they are.

        Args:
            audio: ``[B, 1, T]``.
            reference: what the codec should return, of the same shape.
            in_use: int64 ``[B]``, codebooks used for each item.
            weights: of ``variant.losses``, in their order.
        """
        self.optimizer.zero_grad(set_to_none=True)
        compute = compute_gradients if self.parts == 1 else compute_gradients_in_parts
        found = compute(self, variant, audio, reference, in_use, weights)
        norm = clip_to_usual(self.optimizer, self.recipe.optimizer.gradient_clip)
        named = {f"loss/{name}": loss for name, loss in found.losses.items()}
        numbers = self.processes.means({"loss": found.loss, **named, "gradient_norm": norm})
        finite = norm.isfinite() & numbers["loss"].isfinite()
        step_if(self.optimizer, finite)

        self.skips.add(finite)
        if found.quantized is not None:
            self.usage.add(found.quantized.codes, finite)
            energy = found.quantized.residual_energy
            self.residual_energy = kept(self.residual_energy, energy)
        self.means.add(numbers, finite)
        return numbers

    def count_discriminators(self, loss: Tensor, finite: Tensor) -> None:
        """Add the loss of an update of the discriminators to the means, if it was ``finite``."""
        self.means.add(self.processes.means({"loss/discriminators": loss}), finite)

    def _prepared(self, variant: StepVariant) -> Update:
        """:meth:`update` of one variant; alone on a GPU as a CUDA graph that is recorded once."""
        update = partial(self.update, variant)
        is_alone = self.processes.size == 1
        if self.device.type != "cuda" or self.codec.quantizer.updates_online or not is_alone:
            return update
        return self.graphs.of(variant, update)

    # State.

    def state_dict(self) -> dict[str, Any]:
        """Weights, averaged weights and optimisers."""
        return state_of(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load what :meth:`state_dict` returned. A state without discriminators leaves them."""
        load_state(self, state)
        self.graphs.clear()  # they hold the optimisers' former state
