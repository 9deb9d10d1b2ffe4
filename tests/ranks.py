"""What the processes of ``test_distributed.py`` do. It imports no pytest: they import this file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from audiocodec.errors import CodecError
from audiocodec.training import Recipe, Trainer
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.fabric import FabricProcesses
from audiocodec.training.initialisation import initialise_codebooks
from audiocodec.training.processes import Processes, ProcessLostError
from audiocodec.training.step import TrainingStep

TINY = Path(__file__).resolve().parents[1] / "recipes" / "tiny.yaml"
BATCH, SAMPLES = 4, 2560
QUANTIZERS = {
    "simvq": "codec.quantizer.codebook.kind=simvq",
    "ema_vq": "codec.quantizer.codebook={kind: ema_vq, size: 32, dim: 4, reset_threshold: 0.2}",
}
START, FIRST, STEPS = 2, 10, 20
"""Steps: codebooks are initialised, discriminators begin, the end."""


def tiny(*overrides: str) -> Recipe:
    """recipes/tiny.yaml, smaller."""
    smaller = (
        "codec.seanet.channels=[2, 4, 4, 8]",
        "codec.quantizer.codebook.size=32",
        "codec.quantizer.num_codebooks=3",
        "schedule.codebooks=[1, 2, 3]",
        f"schedule.initialisation_steps=[{START}]",
        "schedule.initialisation_frames=40",
        f"discriminators.start_step={FIRST}",
        "discriminators.per_step=1",
        "losses.tonal=1",
        f"data.segment_seconds={SAMPLES / 16000}",
        "schedule.checkpoint_every=3",
        "schedule.log_every=3",
    )
    return Recipe.from_yaml(TINY, (*smaller, *overrides))


def audio_of(number: int) -> torch.Tensor:
    """A whole batch, of unequal levels. One item of batch 15 is not finite: its step is skipped."""
    audio = torch.tensor([0.02, 0.2, 0.1, 0.05]).view(-1, 1, 1) * torch.randn(
        BATCH, 1, SAMPLES, generator=torch.Generator().manual_seed(number % 1000)
    )
    if number == 15:
        audio[-1, 0, 100] = torch.nan
    return audio


def state_after_steps(kind: str, processes: Processes, parts: int = 1) -> dict[str, Any]:
    """Weights after training, the losses of each step, and the numbers of skipped steps."""
    recipe = tiny(QUANTIZERS[kind], f"schedule.accumulate={parts}")
    training = TrainingStep(recipe, processes=processes)

    def batch(number: int) -> Batch:
        own = audio_of(number)[processes.share.rows(BATCH)]
        return Batch(own, own)

    losses = []
    for step in range(STEPS):
        if step == START:
            initialise_codebooks(training, batch, step)
        numbers = training(batch(step).audio, step)
        losses.append(float(numbers.get("loss", torch.tensor(torch.nan))))
    processes.add_up(training.usage.counts)
    assert training.discriminators is not None
    return {
        "codec": training.codec.state_dict(),
        "discriminators": training.discriminators.state_dict(),
        "losses": losses,
        "skipped": training.skips.read(),
        "counts": training.usage.counts,
    }


def compare(processes: Processes, folder: Path) -> dict[str, Any]:
    """Both kinds of codebooks, one in parts; a mistake; then the first steps of a run, saved."""
    found: dict[str, Any] = {kind: state_after_steps(kind, processes) for kind in QUANTIZERS}
    found["parts"] = state_after_steps("ema_vq", processes, parts=2)
    found["mistake"] = mistake(processes)
    found["clock"] = processes.clock()
    found["any"] = [processes.any(processes.rank == 1), processes.any(False)]
    trainer = Trainer(tiny(), folder / "run", processes=processes)
    for _ in range(3):
        trainer.train_step()
    trainer.save()
    found["step"] = trainer.step
    return found


def mistake(processes: Processes) -> str:
    """What a step says of parameters that get no gradient though nothing says that they are idle.

    Parts are trained without them.
    """
    said = ""
    for parts in (2, 1):
        training = TrainingStep(tiny(f"schedule.accumulate={parts}"), processes=processes)
        training.codec.decoder.first.conv.requires_grad_(False)  # behind the step's back
        try:
            training(audio_of(0)[processes.share.rows(BATCH)], 0)
            assert training.skips.read() == (0, 0)
        except CodecError as error:
            said += f"{parts}: {error}"
    return said


def go_on_and_die(processes: Processes, folder: Path) -> dict[str, Any]:
    """Resume the run; rank 1 dies in step 6, after a checkpoint."""
    trainer = Trainer(tiny(), folder / "run", resume=True, processes=processes)
    found: dict[str, Any] = {"began": trainer.step, "codec": weights_of(trainer)}
    trainer.train_step()
    trainer.save()
    whole = trainer.sampler.batch

    def batch(number: int, step: int) -> Batch:
        if processes.rank == 1:
            torch.save(found, folder / "1.pt")
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(number, step)

    trainer.sampler.batch = batch  # type: ignore[method-assign]
    try:
        with processes.watched(lambda: trainer.checkpoints.remedy):
            trainer.train_step()
    except ProcessLostError as error:
        found["error"] = str(error)
    return found


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """A copy of them."""
    return {k: v.clone() for k, v in trainer.training_step.codec.state_dict().items()}


def run_rank(
    rank: int, port: int, task: Callable[[Processes, Path], dict[str, Any]], folder: Path
) -> None:
    """Save in ``folder`` what ``task`` returns on this rank."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    sys.stderr = open(folder / f"{rank}.log", "w")  # noqa: SIM115 - until the process ends
    torch.save(task(FabricProcesses("cpu"), folder), folder / f"{rank}.pt")
