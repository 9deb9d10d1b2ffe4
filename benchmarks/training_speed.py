"""How fast a recipe trains, with and without discriminators, and where a step's time goes.

    python benchmarks/training_speed.py recipes/speech_16khz.yaml --set data.root=FOLDER

Prints one table: seconds of audio per second, seconds a step, and each part's share of a step. On a
GPU a step is one CUDA graph (`audiocodec/training/cudagraph.py`) and has no parts.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch

from audiocodec.training import Recipe, Trainer
from audiocodec.training.cudagraph import WARM_UP_CALLS
from audiocodec.training.losses.loss import Loss

NOT_TIMED = 2 * (WARM_UP_CALLS + 1)
"""Steps until a GPU has recorded those with and without an update of the discriminators."""

DISCRIMINATORS = "discriminators={start_step: 0, update_every: 2}"


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, help="As in `codec train`.")
@click.option(
    "--steps", default=10, show_default=True, help="Steps timed, after some that are not."
)
@click.option("--threads", default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(recipe: Path, overrides: tuple[str, ...], steps: int, threads: int, device: str) -> None:
    torch.set_num_threads(threads)
    for name, extra in (
        ("codec only", []),
        ("with discriminators, every 2nd step", [DISCRIMINATORS]),
    ):
        settings = Recipe.from_yaml(
            recipe,
            [
                *overrides,
                *extra,
                "schedule.initialisation_steps=[0]",
                "schedule.initialisation_frames=2000",
            ],
        )
        with tempfile.TemporaryDirectory() as folder:
            report(name, Trainer(settings, Path(folder) / "run", device), steps)


def report(name: str, trainer: Trainer, steps: int) -> None:
    """Train a few steps, time every part of them, and print the table."""
    spent: dict[str, float] = defaultdict(float)
    nested = [0.0]  # seconds of the parts inside each part that is being timed

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **keywords: Any) -> Any:
            began = time.perf_counter()
            nested.append(0.0)
            result = function(*arguments, **keywords)
            seconds = time.perf_counter() - began
            spent[part] += seconds - nested.pop()
            nested[-1] += seconds
            return result

        return run

    step, compute, backward = trainer.training_step, Loss.compute, torch.Tensor.backward
    if trainer.device.type == "cpu":
        trainer.sampler.batch = timed("data", trainer.sampler.batch)  # type: ignore[method-assign]
        step.codec.forward = timed("codec forward", step.codec.forward)  # type: ignore[method-assign]
        step._discriminate = timed("discriminators forward", step._discriminate)  # type: ignore[method-assign]
        step.optimizer.step = timed("optimizer", step.optimizer.step)  # type: ignore[method-assign]
        Loss.compute = timed("losses", compute)  # type: ignore[method-assign]
        torch.Tensor.backward = timed("backward", backward)  # type: ignore[method-assign]
    for _ in range(NOT_TIMED):
        trainer.train_step()
    wait(trainer.device)
    spent.clear()
    began = time.perf_counter()
    for _ in range(steps):
        trainer.train_step()
    wait(trainer.device)
    total = time.perf_counter() - began
    Loss.compute, torch.Tensor.backward = compute, backward  # type: ignore[method-assign]

    schedule, data = trainer.recipe.schedule, trainer.recipe.data
    audio = schedule.batch_size * data.segment_seconds * steps
    print(f"{name}: {audio / total:.1f} s of audio per second, {total / steps:.3f} s a step")
    for part, seconds in sorted(spent.items(), key=lambda pair: -pair[1]):
        print(f"  {part:22s} {seconds / total:6.1%}")
    if spent:
        print(f"  {'rest':22s} {1 - sum(spent.values()) / total:6.1%}")


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
