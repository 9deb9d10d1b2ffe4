"""Where the time of a training step goes, and what each way to make it cheaper gains.

    python benchmarks/training_speed.py recipes/speech_16khz.yaml                  this CPU
    python benchmarks/training_speed.py recipes/speech_16khz_phases.yaml --device cuda

The first table has every part of a step by itself, forward and backward: network, quantiser, each
window of the spectral losses, the other losses, each discriminator, optimiser, averaged weights,
and drawing a batch of the bundled clips with the recipe's augmentations. The second has the audio
per second of whole steps, without and with discriminators, for each option of docs/training.md. On
a GPU whole steps are CUDA graphs, on a CPU the time is that of this process alone. Audio is noise:
the time does not depend on it.
"""

from functools import partial
from pathlib import Path

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
    first: list[float] = []
    for name, option in OPTIONS.items():
        if wanted and name not in wanted and first:
            continue
        rates = []
        for start in ("1000000000", "0"):
            words = (*overrides, f"discriminators.start_step={start}", *option)
            rates.append(rate(recipe, words, clock, steps))
        first = first or rates
        cells = [f"{x:.1f} | {x / one:.2f}" for x, one in zip(rates, first, strict=True)]
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


def rate(recipe: Path, overrides: tuple[str, ...], clock: Clock, steps: int) -> float:
    """Seconds of audio per second of whole steps; 0 where memory does not suffice."""
    try:
        whole = settings(recipe, overrides)
        training, audio = prepared(whole, clock.device)
        numbers = iter(range(10**9))

        def several(count: int) -> None:
            for _ in range(count):
                training(audio, next(numbers))

        before = -1
        several(2)
        while clock.device.type == "cuda" and before != len(training.graphs.by_variant):
            before = len(training.graphs.by_variant)  # until all variants are recorded
            several((WARM_UP_CALLS + 1) * 2 * max(1, before))
        # Two steps are one with an update of the discriminators and one without. A CPU that other
        # processes share is slower at times: the fastest two count.
        pairs = -(-steps // 2)
        if clock.device.type == "cuda":
            seconds = clock.seconds(partial(several, 2 * pairs)) / pairs
        else:
            seconds = min(clock.seconds(partial(several, 2)) for _ in range(pairs))
        return 2 * audio.numel() / whole.codec.sample_rate / seconds
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return 0.0


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
