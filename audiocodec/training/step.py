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
from audiocodec.training.adversary import share_pass, update_discriminators
from audiocodec.training.clipping import clip_to_usual
from audiocodec.training.compute import prepare, set_backends, spectral_function
from audiocodec.training.cudagraph import Graphs
from audiocodec.training.discriminators import Discriminators, FeatureMaps
from audiocodec.training.idle import idle_discriminators, idle_parts
from audiocodec.training.losses.inputs import LossInputs
from audiocodec.training.losses.registry import LOSSES
from audiocodec.training.meters import MeanMeter, SkipMeter, UsageMeter, kept
from audiocodec.training.optim import (
    WeightAverage,
    codec_optimizer,
    discriminator_optimizer,
    set_learning_rates,
    step_if,
)
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
        prepare(self.codec, self.discriminators, recipe.precision, recipe.compute)
        self._spectral_function = spectral_function(recipe.compute)
        self._codec = self.processes.replicate(self.codec)
        if self.discriminators is not None:
            self._discriminators = self.processes.replicate(self.discriminators)
            self.discriminators.requires_grad_(False)  # but in their own update
        self._trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.loss_networks = recipe.losses.load_networks(self.codec.sample_rate, self.device)
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
        """The algorithm: discriminators, losses, gradient, optimiser.

        It reads no tensor's value, so that a GPU can record it. If loss or gradient is not finite,
        weights and optimiser stay as they are.

        Args:
            audio: ``[B, 1, T]``.
            reference: what the codec should return, of the same shape.
            in_use: int64 ``[B]``, codebooks used for each item.
            weights: of ``variant.losses``, in their order.
        """
        inputs = self._reconstruct(variant, audio, reference, in_use)
        settings = self.recipe.discriminators
        is_shared = settings is not None and settings.shared_pass and variant.updates_discriminators
        if is_shared and self.discriminators is not None:
            share_pass(self.discriminators, inputs)
        elif variant.updates_discriminators:
            self._update_discriminators(variant, inputs)
        networks = self.loss_networks
        losses = {n: LOSSES[n].compute(inputs, networks.get(n)) for n in variant.losses}
        total = (weights * torch.stack(list(losses.values()))).sum()

        self.optimizer.zero_grad(set_to_none=True)
        idle = idle_parts(self.codec, variant, inputs.quantized)
        if is_shared:
            trained = [parameter for parameter in self._trained if parameter.requires_grad]
            self.processes.backward(total, idle, trained, retain_graph=True)
            self._update_discriminators(variant, inputs, is_shared=True)
        else:
            self.processes.backward(total, idle)
        norm = clip_to_usual(self.optimizer, self.recipe.optimizer.gradient_clip)
        named = {f"loss/{name}": loss for name, loss in losses.items()}
        numbers = self.processes.means({"loss": total, **named, "gradient_norm": norm})
        finite = norm.isfinite() & numbers["loss"].isfinite()
        step_if(self.optimizer, finite)

        self.skips.add(finite)
        if inputs.quantized is not None:
            self.usage.add(inputs.quantized.codes, finite)
            energy = inputs.quantized.residual_energy
            self.residual_energy = kept(self.residual_energy, energy)
        self.means.add(numbers, finite)
        return numbers

    def _reconstruct(
        self, variant: StepVariant, audio: Tensor, reference: Tensor, in_use: Tensor
    ) -> LossInputs:
        """Run the codec, with its codebooks once they are initialised."""
        quantized = None
        with self._autocast():
            if variant.quantizing:
                output = self._codec(audio, in_use if self.recipe.schedule.codebooks else None)
                reconstruction, quantized = output.audio, output.quantized
            else:
                reconstruction = self._codec.autoencode(audio)  # type: ignore[operator]
        discriminate = partial(self._discriminate, variant) if variant.discriminators else None
        return LossInputs(
            reconstruction.float(),
            reference,
            self.codec.sample_rate,
            self.codec.hop_length,
            self.codec.config.seanet.periods,
            tuple(self.recipe.losses.window_lengths[place] for place in variant.windows),
            tuple(self.recipe.losses.mel_bands[place] for place in variant.windows),
            quantized,
            discriminate,
            self._spectral_function,
        )

    def _update_discriminators(
        self, variant: StepVariant, inputs: LossInputs, is_shared: bool = False
    ) -> None:
        """One update of the discriminators in use, on the reference and the reconstruction."""
        assert self.discriminators is not None
        idle = idle_discriminators(self.discriminators, variant)
        loss, finite = update_discriminators(
            self.discriminators,
            self.discriminator_optimizer,
            inputs,
            is_shared,
            partial(self.processes.backward, idle=idle),
        )
        self.means.add(self.processes.means({"loss/discriminators": loss}), finite)

    def _discriminate(self, variant: StepVariant, audio: Tensor) -> FeatureMaps:
        assert self.discriminators is not None
        with self._autocast():
            maps: FeatureMaps = self._discriminators(audio, variant.discriminators)
        return maps

    def _autocast(self) -> torch.autocast:
        """Networks in bfloat16 if the recipe says so; losses are always float32."""
        enabled = self.recipe.precision != "tf32"
        return torch.autocast(self.device.type, torch.bfloat16, enabled)

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
