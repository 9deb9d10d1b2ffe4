"""Where the time of a training step goes, and what each way to make it cheaper gains.

    python benchmarks/training_speed.py recipes/speech_16khz.yaml                  this CPU
    python benchmarks/training_speed.py recipes/speech_16khz_phases.yaml --device cuda

The first table has every part of a step by itself, forward and backward: network, quantiser, each
window of the spectral losses, the other losses, each discriminator, optimiser, averaged weights,
and drawing a batch of the bundled clips with the recipe's augmentations.

The second has the audio per second of whole steps, without and with discriminators, for each option
of docs/training.md. Steps with an option and steps without take turns, and the gain is the median
of their ratios: other work on the machine slows both. On a GPU whole steps are CUDA graphs, on a
CPU the time is that of this process alone. Audio is noise: the time does not depend on it.
"""

from functools import partial
from pathlib import Path
from statistics import median

import click
import torch
from training_parts import Clock, prepared, print_parts

from audiocodec import CodecError
from audiocodec.training import Recipe
from audiocodec.training.cudagraph import WARM_UP_CALLS
from audiocodec.training.memory import is_out_of_memory

OPTIONS: dict[str, tuple[str, ...]] = {
    "as the recipe says": (),
    "bfloat16": ("precision=bfloat16",),
    "bfloat16 trunk": ("precision=bfloat16_trunk",),
    "channels last": ("compute.channels_last=true",),
    "bfloat16, channels last": ("precision=bfloat16", "compute.channels_last=true"),
    "3 windows a step": ("losses.windows_per_step=3",),
    "3 discriminators a step": ("discriminators.per_step=3",),
    "one pass for both updates": ("discriminators.shared_pass=true",),
    "compiled spectra": ("compute.compile=[spectra]",),
    "compiled network": ("compute.compile=[network]",),
    "twice the batch": ("schedule.batch_size*2",),
    "four times the batch": ("schedule.batch_size*4",),
    "all but larger batches": (
        "precision=bfloat16",
        "compute.channels_last=true",
        "losses.windows_per_step=3",
        "discriminators.per_step=3",
        "discriminators.shared_pass=true",
        "compute.compile=[network, spectra]",
    ),
}

DISCRIMINATORS = "discriminators={start_step: 0}"

STARTS = "discriminators.start_step=1000000000", "discriminators.start_step=0"
"""Without and with discriminators."""


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, help="As in `codec train`.")
@click.option("--steps", default=10, show_default=True, help="Steps timed for each figure.")
@click.option("--threads", default=1, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--option", "wanted", multiple=True, help="Only these rows of the second table.")
@click.option("--no-parts", is_flag=True, help="Only the second table.")
def main(
    recipe: Path,
    overrides: tuple[str, ...],
    steps: int,
    threads: int,
    device: str,
    wanted: tuple[str, ...],
    no_parts: bool,
) -> None:
    torch.set_num_threads(threads)
    clock = Clock(torch.device(device))
    base = settings(recipe, overrides)
    if base.discriminators is None:
        overrides = (*overrides, DISCRIMINATORS)
    if not no_parts:
        print_parts(settings(recipe, overrides, "discriminators.start_step=0"), clock, steps)
    print("\n| option | s of audio per second | gain | with discriminators | gain |")
    print("| -- | -- | -- | -- | -- |")
    bases = [Steps(settings(recipe, overrides, start), clock) for start in STARTS]
    for name, option in OPTIONS.items():
        if wanted and name not in wanted:
            continue
        cells = []
        for base, start in zip(bases, STARTS, strict=True):
            rate, gain = compared(base, settings(recipe, overrides, start, *option), clock, steps)
            cells.append(f"{rate:.1f} | {gain:.2f}" if rate else "no memory |")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def settings(recipe: Path, overrides: tuple[str, ...], *more: str) -> Recipe:
    """The recipe, initialised from the first step on; ``schedule.batch_size*2`` multiplies."""
    quick = ("schedule.initialisation_steps=[0]", "schedule.initialisation_frames=2000")
    words = [word for word in (*overrides, *more) if "*" not in word.partition("=")[0]]
    factors = [int(word.partition("*")[2]) for word in (*overrides, *more) if word not in words]
    found = Recipe.from_yaml(recipe, [*words, *quick])
    size = found.schedule.batch_size
    for factor in factors:
        size *= factor
    return Recipe.from_yaml(recipe, [*words, *quick, f"schedule.batch_size={size}"])


class Steps:
    """Whole steps of a recipe, ready to be timed.

    Raises:
        RuntimeError: memory does not suffice.
    """

    def __init__(self, recipe: Recipe, clock: Clock) -> None:
        self._training, self._audio = prepared(recipe, clock.device)
        self._clock, self._numbers = clock, iter(range(10**9))
        self.audio_seconds = 2 * self._audio.numel() / recipe.codec.sample_rate
        before = -1
        self._run(2)
        while clock.device.type == "cuda" and before != len(self._training.graphs.by_variant):
            before = len(self._training.graphs.by_variant)  # until all variants are recorded
            self._run((WARM_UP_CALLS + 1) * 2 * max(1, before))

    def seconds(self) -> float:
        """The time of two steps, one with an update of the discriminators and one without."""
        return self._clock.seconds(partial(self._run, 2))

    def _run(self, count: int) -> None:
        for _ in range(count):
            self._training(self._audio, next(self._numbers))


def compared(base: Steps, recipe: Recipe, clock: Clock, steps: int) -> tuple[float, float]:
    """Seconds of audio per second with ``recipe``, and that divided by the same for ``base``.

    0 and 0 where memory does not suffice.
    """
    try:
        other = Steps(recipe, clock)
        pairs = [(base.seconds(), other.seconds()) for _ in range(-(-steps // 2))]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return 0.0, 0.0
    gains = [other.audio_seconds / base.audio_seconds * one / two for one, two in pairs]
    return other.audio_seconds / median(two for _, two in pairs), median(gains)


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
