"""Codec and discriminators as a training step computes them: precision, processes, losses."""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from audiocodec.codec import Codec
from audiocodec.quantization.residual import Quantized
from audiocodec.training.compute import prepare, spectral_function
from audiocodec.training.discriminators import Discriminators, FeatureMaps
from audiocodec.training.losses.inputs import LossInputs
from audiocodec.training.losses.registry import LOSSES
from audiocodec.training.processes import Processes
from audiocodec.training.recipe import Recipe
from audiocodec.training.schedule import StepVariant


class Networks:
    """The forward passes of a step, and its losses.

    Args:
        processes: those that train together; each has replicas of the networks.
    """

    def __init__(
        self,
        recipe: Recipe,
        codec: Codec,
        discriminators: Discriminators | None,
        processes: Processes,
    ) -> None:
        self.recipe, self.codec, self.discriminators = recipe, codec, discriminators
        prepare(codec, discriminators, recipe.precision, recipe.compute)
        self.spectral_function = spectral_function(recipe.compute)
        self._codec = processes.replicate(codec)
        self._discriminators: nn.Module | None = None
        if discriminators is not None:
            self._discriminators = processes.replicate(discriminators)
            discriminators.requires_grad_(False)  # but in their own update
        self.loss_networks = recipe.losses.load_networks(codec.sample_rate, codec.device)

    def reconstruct(
        self, variant: StepVariant, audio: Tensor, reference: Tensor, in_use: Tensor
    ) -> LossInputs:
        """Run the codec, with its codebooks once they are initialised, by its replica."""
        quantized = None
        with self.autocast():
            if variant.quantizing:
                output = self._codec(audio, self.codebooks(in_use))
                reconstruction, quantized = output.audio, output.quantized
            else:
                reconstruction = self._codec.autoencode(audio)  # type: ignore[operator]
        return self.inputs(variant, reconstruction, reference, quantized, self._discriminators)

    def codebooks(self, in_use: Tensor) -> Tensor | None:
        """What the quantiser is told: nothing if the recipe always uses all codebooks."""
        return in_use if self.recipe.schedule.codebooks else None

    def inputs(
        self,
        variant: StepVariant,
        reconstruction: Tensor,
        reference: Tensor,
        quantized: Quantized | None,
        discriminators: nn.Module | None,
    ) -> LossInputs:
        """What the losses of ``variant`` are computed from."""
        places, losses = variant.windows, self.recipe.losses
        discriminate = partial(self._discriminate, discriminators, variant.discriminators)
        return LossInputs(
            reconstruction.float(),
            reference,
            self.codec.sample_rate,
            self.codec.hop_length,
            self.codec.config.seanet.periods,
            tuple(losses.window_lengths[place] for place in places),
            tuple(losses.mel_bands[place] for place in places),
            quantized,
            discriminate if variant.discriminators else None,
            spectral_function=self.spectral_function,
        )

    def losses(self, names: Iterable[str], inputs: LossInputs) -> dict[str, Tensor]:
        """These of the registry, scalars."""
        return {name: LOSSES[name].compute(inputs, self.loss_networks.get(name)) for name in names}

    def autocast(self) -> torch.autocast:
        """Networks in bfloat16 if the recipe says so; losses are always float32."""
        enabled = self.recipe.precision != "tf32"
        return torch.autocast(self.codec.device.type, torch.bfloat16, enabled)

    def _discriminate(
        self, network: nn.Module | None, names: tuple[str, ...], audio: Tensor
    ) -> FeatureMaps:
        assert network is not None
        with self.autocast():
            maps: FeatureMaps = network(audio, names)
        return maps
