"""The parts of a training step, each timed by itself: the first table of training_speed.py."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from audiocodec import find_audio
from audiocodec.bundled import CLIPS
from audiocodec.training import Recipe
from audiocodec.training.clipping import clip_to_usual
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.data.cache import AudioCache
from audiocodec.training.data.decoded import DecodedAudio
from audiocodec.training.data.segments import SegmentSampler
from audiocodec.training.initialisation import initialise_codebooks
from audiocodec.training.losses.adversarial import (
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)
from audiocodec.training.losses.inputs import LossInputs
from audiocodec.training.losses.registry import LOSSES
from audiocodec.training.losses.spectral import mel_loss, stft_loss
from audiocodec.training.schedule import StepVariant, loss_weights, step_variant
from audiocodec.training.step import TrainingStep


class Clock:
    """Seconds of work, on a GPU until it is done. On a CPU of this process, not of others."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._now = time.perf_counter if device.type == "cuda" else time.process_time

    def seconds(self, function: Callable[[], object]) -> float:
        self._wait()
        began = self._now()
        function()
        self._wait()
        return self._now() - began

    def median(self, function: Callable[[], object], times: int) -> float:
        """Of several calls, after two that are not timed."""
        for _ in range(2):
            function()
        return median(self.seconds(function) for _ in range(times))

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def prepared(recipe: Recipe, device: torch.device) -> tuple[TrainingStep, Tensor]:
    """A step with initialised codebooks, and noise for it ``[B, 1, T]``."""
    training = TrainingStep(recipe, device)
    length = round(recipe.data.segment_seconds * recipe.codec.sample_rate)
    audio = 0.1 * torch.randn(recipe.schedule.batch_size, 1, length, device=device)
    initialise_codebooks(training, lambda _: Batch(audio, audio), 0)
    return training, audio


def print_parts(recipe: Recipe, clock: Clock, steps: int) -> None:
    """The first table: milliseconds of each part by itself, and of a whole step, not recorded."""
    training, audio = prepared(recipe, clock.device)
    rows = [
        (name, *(1000 * clock.median(x, steps) if x else 0.0 for x in functions))
        for name, *functions in parts(training, audio)
    ]
    step = iter(range(10**9))
    whole = 1000 * clock.median(
        lambda: training.update(*arguments(training, audio, next(step))), steps
    )
    print(f"{recipe.name}, batches of {len(audio)} x {recipe.data.segment_seconds:g} s, ", end="")
    print(f"{clock.device}; a whole step with an update of all discriminators: {whole:.0f} ms\n")
    print("| part | forward, ms | forward and backward, ms | share of the step |")
    print("| -- | -- | -- | -- |")
    for name, forward, both in rows:
        print(f"| {name} | {forward:.1f} | {both:.1f} | {both / whole:.1%} |")
    print(f"| all parts |  | {sum(row[2] for row in rows):.1f} |  |")


def arguments(
    training: TrainingStep, audio: Tensor, step: int
) -> tuple[StepVariant, *tuple[Tensor, ...]]:
    """Of a step's update, with an update of all discriminators."""
    recipe, names = training.recipe, training.discriminators.names
    variant = step_variant(recipe, step, step, names)
    variant = variant._replace(discriminators=names, updates_discriminators=True)
    in_use = torch.full((len(audio),), training.codec.num_codebooks, device=audio.device)
    weights = torch.tensor(list(loss_weights(recipe, step).values()), device=audio.device)
    return variant, audio, audio, in_use, weights


Part = tuple[str, Callable[[], object] | None, Callable[[], object]]
"""A name, the part's forward pass, and both passes."""


def parts(training: TrainingStep, audio: Tensor) -> Iterator[Part]:
    """The parts of a step."""
    recipe, codec = training.recipe, training.codec
    yield "drawing a batch", None, partial(batches(recipe, audio.device), 0)

    def part(name: str, function: Callable[..., Tensor], *inputs: Tensor) -> Part:
        leaves = [x.detach().requires_grad_(x.is_floating_point()) for x in inputs]

        def forward() -> Tensor:
            with training.networks.autocast():
                return function(*leaves)

        def both() -> None:
            output = forward()
            output.backward(torch.ones_like(output))

        return name, forward, both

    latents = codec.latents(audio)
    yield part("encoder", codec.latents, audio)
    yield part("quantiser", lambda x: codec.quantizer(x).latents, latents)
    yield part("decoder", codec.decoder, latents)

    def inputs(reconstruction: Tensor, window: int | None = None) -> LossInputs:
        lengths, bands = recipe.losses.window_lengths, recipe.losses.mel_bands
        places = range(len(lengths)) if window is None else [window]
        return LossInputs(
            reconstruction,
            audio,
            codec.sample_rate,
            codec.hop_length,
            codec.config.seanet.periods,
            tuple(lengths[place] for place in places),
            tuple(bands[place] for place in places),
            spectral_function=training.networks.spectral_function,
        )

    def spectral(window: int, reconstruction: Tensor) -> Tensor:
        spectra = inputs(reconstruction, window).spectra
        return mel_loss(spectra) + stft_loss(spectra)

    noisy = audio + 0.01 * torch.randn_like(audio)
    for window, length in enumerate(recipe.losses.window_lengths):
        yield part(f"mel and STFT, window of {length}", partial(spectral, window), noisy)
    for name, loss in LOSSES.items():
        alone = not (loss.needs_quantizer or loss.needs_discriminators or "spectra" in loss.needs)
        if alone and recipe.losses.weight(name):
            yield part(name, lambda x, loss=loss: loss.compute(inputs(x)), noisy)
    yield from discriminator_parts(training, audio, noisy)
    training.update(*arguments(training, audio, 0))  # gradients

    def optimise() -> None:
        clip_to_usual(training.optimizer, recipe.optimizer.gradient_clip)
        training.optimizer.step()

    yield "clipping and optimiser", None, optimise
    yield "averaged weights", None, training.average.update


def discriminator_parts(training: TrainingStep, real: Tensor, fake: Tensor) -> Iterator[Part]:
    """Each discriminator: its own update, and what the codec's losses need of it."""
    discriminators = training.discriminators
    assert discriminators is not None
    for name in discriminators.names:

        def maps(x: Tensor, name: str = name) -> list[list[Tensor]]:
            with training.networks.autocast():
                return discriminators(x, (name,))

        def both(maps: Callable[[Tensor], list[list[Tensor]]] = maps) -> None:
            discriminators.requires_grad_(True)
            discriminator_loss(maps(real), maps(fake)).backward()
            discriminators.requires_grad_(False)
            with torch.no_grad():
                reference = maps(real)
            reconstruction = maps(fake.detach().requires_grad_(True))
            loss = adversarial_loss(reconstruction)
            (loss + feature_matching_loss(reference, reconstruction)).backward()

        yield f"discriminator {name}", partial(maps, real), both
    yield "discriminators' optimiser", None, training.discriminator_optimizer.step


def batches(recipe: Recipe, device: torch.device) -> Callable[[int], Batch]:
    """Batches of the bundled clips."""
    with tempfile.TemporaryDirectory() as folder:
        cache = AudioCache(find_audio(CLIPS), recipe.codec.sample_rate, Path(folder))
        size, rate = recipe.schedule.batch_size, recipe.codec.sample_rate
        audio = DecodedAudio([cache.samples], recipe.data, rate, device)
        return SegmentSampler(audio, recipe.data, rate, size, recipe.seed).batch
