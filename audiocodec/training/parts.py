"""The gradients of a batch that is computed in parts, one after the other, to fit into memory.

Audio takes the memory, latents are short. So what works on audio is computed part by part, encoder,
decoder, losses and discriminators, and the quantiser on the whole batch: its scale, codes, losses
and statistics are those of the whole batch, whatever the number of parts.

1. Encoder, part by part, without a gradient. Quantiser, on all latents.
2. Decoder, losses and their gradients, part by part: for the decoder, and for what it decodes.
3. The gradient of the quantiser. Encoder again, part by part, now with the gradient of its latents.

The encoder is computed twice, and the decoder too where discriminators are updated before the codec
learns from them. (Gao et al. 2021, arXiv 2101.06983, do this for embeddings of a contrastive loss.)
What a loss takes of the whole batch (``LossInputs.batch_mean``) is computed beforehand, without a
gradient. So the gradients are those of the whole batch up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from audiocodec import ranks
from audiocodec.codec import decode_whole, encode_whole
from audiocodec.errors import CodecError
from audiocodec.training.adversary import loss_of_discriminators, share_pass, step_discriminators
from audiocodec.training.gradients import Computed, shares_pass
from audiocodec.training.losses.inputs import LossInputs
from audiocodec.training.losses.registry import LOSSES
from audiocodec.training.schedule import StepVariant

if TYPE_CHECKING:
    from audiocodec.training.step import TrainingStep

OF_AUDIO = {"reconstruction", "reference", "spectra", "real_maps", "fake_maps"}
"""What losses need that there is for one part only."""


def compute_gradients_in_parts(
    training: TrainingStep,
    variant: StepVariant,
    audio: Tensor,
    reference: Tensor,
    in_use: Tensor,
    weights: Tensor,
) -> Computed:
    """``compute_gradients`` in ``training.parts`` parts; each has one item or more.

    Raises:
        CodecError: a loss needs both the quantiser's output and audio.
    """
    batch = _Batch(training, variant, audio, reference)
    batch.quantize(in_use)
    is_shared = shares_pass(training, variant)
    if variant.updates_discriminators and not is_shared:
        batch.update_discriminators()
    losses = batch.learn(weights, is_shared)
    batch.learn_latents(weights, losses)
    total = (weights * torch.stack(list(losses.values()))).sum()
    return Computed(total, losses, batch.quantized)


class _Batch:
    """A batch on its way through the step: ``audio`` and ``reference`` are ``[B, 1, T]``."""

    def __init__(
        self, training: TrainingStep, variant: StepVariant, audio: Tensor, reference: Tensor
    ) -> None:
        self.training, self.variant = training, variant
        self.codec, self.networks = training.codec, training.networks
        self.audio, self.reference = audio, reference
        self.of_quantizer = [n for n in variant.losses if LOSSES[n].needs_quantizer]
        for name in self.of_quantizer:
            if OF_AUDIO & set(LOSSES[name].needs):
                raise CodecError(
                    f"losses.{name}: it needs codes and audio of one batch, which are not computed "
                    "together in parts; use schedule.accumulate=1, and a smaller "
                    "schedule.batch_size if memory is exhausted"
                )

    def parts(self) -> Iterator[tuple[slice, float]]:
        """The items of each part, and their share of the batch."""
        size = len(self.audio)
        count, start = min(self.training.parts, size), 0
        for part in range(count):
            end = size * (part + 1) // count
            yield slice(start, end), (end - start) / size
            start = end

    def quantize(self, in_use: Tensor) -> None:
        """Compute ``latents [B, D, F]``, quantised if the codebooks are initialised."""
        with torch.no_grad():
            self.unscaled = torch.cat([self._encode(part) for part, _ in self.parts()])
        self.unscaled.requires_grad_(not self.variant.decoder_only)
        self.quantized = None
        with self.networks.autocast():
            self.latents = self.codec.encoder.scale(self.unscaled)
            if self.variant.quantizing:
                self.quantized = self.codec.quantizer(self.latents, self.networks.codebooks(in_use))
                self.latents = self.quantized.latents
        self.decoded = self.latents.detach().requires_grad_()

    def update_discriminators(self) -> None:
        """One update of them, on the reference and the reconstruction."""
        training = self.training
        discriminators, optimizer = training.discriminators, training.discriminator_optimizer
        assert discriminators is not None
        discriminators.requires_grad_(True)
        optimizer.zero_grad(set_to_none=True)
        self._step_discriminators([self._discriminate(*part) for part in self.parts()])

    def learn(self, weights: Tensor, is_shared: bool) -> dict[str, Tensor]:
        """The losses, and their gradients for the decoder and for what it decodes.

        With ``is_shared`` the discriminators are updated after that.
        """
        training, names = self.training, self.variant.losses
        self.of_audio = [name for name in names if name not in self.of_quantizer]
        self.weights = torch.stack([weights[names.index(name)] for name in self.of_audio])
        self.learning = [self.decoded, *(p for p in training.trained if p.requires_grad)]
        self.means = self._means_of_batch()
        if is_shared:
            training.discriminator_optimizer.zero_grad(set_to_none=True)
        parts = [self._learn_part(*part, is_shared) for part in self.parts()]
        if is_shared:
            self._step_discriminators([loss for _, loss in parts if loss is not None])
        sums = torch.stack([losses for losses, _ in parts]).sum(dim=0)
        nothing = self.audio.new_zeros(0)
        inputs = self.networks.inputs(self.variant, nothing, nothing, self.quantized, None)
        found = dict(zip(self.of_audio, sums.unbind(), strict=True))
        found |= self.networks.losses(self.of_quantizer, inputs)
        return {name: found[name] for name in names}

    def learn_latents(self, weights: Tensor, losses: dict[str, Tensor]) -> None:
        """The gradients for quantiser and encoder; then all are averaged over the processes."""
        if self.unscaled.requires_grad:
            roots, gradients = [self.latents], [self.decoded.grad]
            for place, (name, loss) in enumerate(losses.items()):
                if name in self.of_quantizer:
                    roots.append(weights[place] * loss)
                    gradients.append(None)
            torch.autograd.backward(roots, gradients)
            assert self.unscaled.grad is not None
            for part, _ in self.parts():
                self._encode(part).backward(self.unscaled.grad[part])
        self.training.processes.average(self.training.trained)

    def _means_of_batch(self) -> dict[str, Tensor]:
        """By loss, the values of ``LossInputs.batch_mean``: over all parts and processes."""
        sums: dict[str, Tensor] = {}
        names = [name for name in self.of_audio if "batch_mean" in LOSSES[name].needs]
        decodes = any("reconstruction" in LOSSES[name].needs for name in names)
        for part, share in self.parts() if names else ():
            reference = self.reference[part]
            with torch.no_grad():
                inputs = self._reconstruct(part) if decodes else self._inputs(reference, reference)
            if self.variant.discriminators:
                inputs.fake_maps = inputs.real_maps  # the means do not depend on them
            for name in names:

                def add(values: Tensor, name: str = name, share: float = share) -> Tensor:
                    sums[name] = sums.get(name, 0.0) + share * values
                    return values

                inputs.batch_mean = add
                with torch.no_grad():
                    self.networks.losses([name], inputs)
        return {name: ranks.mean(values) for name, values in sums.items()}

    # One part each, so that nothing of it is kept when the next one begins.

    def _discriminate(self, part: slice, share: float) -> Tensor:
        """The gradient of the discriminators; returns their loss."""
        with torch.no_grad():
            inputs = self._reconstruct(part)
        loss = share * loss_of_discriminators(inputs, is_shared=False)
        loss.backward()
        return loss.detach()

    def _learn_part(
        self, part: slice, share: float, is_shared: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The gradients of the losses and, in a shared pass, of the discriminators.

        Returns the losses ``[L]``, and that of the discriminators.
        """
        inputs, discriminators = self._reconstruct(part), self.training.discriminators
        if is_shared:
            assert discriminators is not None
            share_pass(discriminators, inputs)
        losses = share * torch.stack([self._loss(name, inputs) for name in self.of_audio])
        total = (self.weights * losses).sum()
        total.backward(inputs=self.learning, retain_graph=is_shared)
        if not is_shared or discriminators is None:
            return losses.detach(), None
        loss = share * loss_of_discriminators(inputs, is_shared=True)
        loss.backward(inputs=list(discriminators.parameters()))
        return losses.detach(), loss.detach()

    def _loss(self, name: str, inputs: LossInputs) -> Tensor:
        if name in self.means:
            # The value of the mean, and the gradient of what this part adds to it.
            inputs.batch_mean = lambda values: self.means[name] + values - values.detach()
        return self.networks.losses([name], inputs)[name]

    def _encode(self, part: slice) -> Tensor:
        """Latents ``[b, D, F]`` of some items, before their running scale."""
        with self.networks.autocast():
            return encode_whole(self.codec.encoder.unscaled, self.audio[part], self.codec)

    def _reconstruct(self, part: slice) -> LossInputs:
        """Decode some items."""
        with self.networks.autocast():
            audio = decode_whole(self.codec.decoder, self.decoded[part], self.codec)
        return self._inputs(audio[..., : self.audio.shape[-1]], self.reference[part])

    def _inputs(self, reconstruction: Tensor, reference: Tensor) -> LossInputs:
        discriminators = self.training.discriminators
        return self.networks.inputs(self.variant, reconstruction, reference, None, discriminators)

    def _step_discriminators(self, losses: list[Tensor]) -> None:
        training = self.training
        discriminators, optimizer = training.discriminators, training.discriminator_optimizer
        assert discriminators is not None
        training.processes.average(discriminators.parameters())
        loss = torch.stack(losses).sum()
        training.count_discriminators(loss, step_discriminators(discriminators, optimizer))
