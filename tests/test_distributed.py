"""Training in several processes: two on this CPU, which agree, equal one, and end together.

The processes are forked from a server that has imported everything once.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from audiocodec.errors import CodecError
from audiocodec.training import Recipe, Trainer
from audiocodec.training.data.augmentations.batch import Batch
from audiocodec.training.data.segments import SegmentSampler
from audiocodec.training.fabric import FabricProcesses
from audiocodec.training.initialisation import initialise_codebooks
from audiocodec.training.processes import Processes, ProcessLostError, Share
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
        f"data.segment_seconds={SAMPLES / 16000}",
        "schedule.checkpoint_every=3",
        "schedule.log_every=3",
    )
    return Recipe.from_yaml(TINY, (*smaller, *overrides))


def audio_of(number: int) -> torch.Tensor:
    """A whole batch. One item of batch 15 is not finite, so that its step is skipped."""
    audio = 0.1 * torch.randn(
        BATCH, 1, SAMPLES, generator=torch.Generator().manual_seed(number % 1000)
    )
    if number == 15:
        audio[-1, 0, 100] = torch.nan
    return audio


def state_after_steps(kind: str, processes: Processes) -> dict[str, Any]:
    """Weights after training, the losses of each step, and the numbers of skipped steps."""
    training = TrainingStep(tiny(QUANTIZERS[kind]), processes=processes)

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
    """Both kinds of codebooks; then the first steps of a run, saved."""
    found: dict[str, Any] = {kind: state_after_steps(kind, processes) for kind in QUANTIZERS}
    found["clock"] = processes.clock()
    found["any"] = [processes.any(processes.rank == 1), processes.any(False)]
    trainer = Trainer(tiny(), folder / "run", processes=processes)
    for _ in range(3):
        trainer.train_step()
    trainer.save()
    found["step"] = trainer.step
    return found


def go_on_and_die(processes: Processes, folder: Path) -> dict[str, Any]:
    """Resume the run; rank 1 dies in step 6, after a checkpoint."""
    trainer = Trainer(tiny(), folder / "run", resume=True, processes=processes)
    found: dict[str, Any] = {"began": trainer.step, "codec": _copy(trainer)}
    trainer.train_step()
    trainer.save()
    whole = trainer.sampler.batch

    def batch(number: int) -> Batch:
        if processes.rank == 1:
            torch.save(found, folder / "1.pt")
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(number)

    trainer.sampler.batch = batch  # type: ignore[method-assign]
    try:
        with processes.watched(lambda: trainer.checkpoints.remedy):
            trainer.train_step()
    except ProcessLostError as error:
        found["error"] = str(error)
    return found


def _copy(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in trainer.training_step.codec.state_dict().items()}


def run_rank(
    rank: int, port: int, task: Callable[[Processes, Path], dict[str, Any]], folder: Path
) -> None:
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


def two_processes(
    task: Callable[[Processes, Path], dict[str, Any]], folder: Path
) -> list[dict[str, Any]]:
    """What ``task`` returns on rank 0 and on rank 1."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "lightning_fabric"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [context.Process(target=run_rank, args=(n, port, task, folder)) for n in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(300)
        rank.kill()
    logs = [(folder / f"{n}.log").read_text() for n in range(2)]
    assert all((folder / f"{n}.pt").is_file() for n in range(2)), logs
    return [torch.load(folder / f"{n}.pt") for n in range(2)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[dict[str, Any]], Path]]:
    """Two processes that have trained, and their folder."""
    folder = tmp_path_factory.mktemp("pair")
    yield two_processes(compare, folder), folder


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_two_processes_have_equal_weights(pair: Any, kind: str) -> None:
    (first, second), _ = pair
    for part in ("codec", "discriminators"):
        for name, value in first[kind][part].items():
            assert torch.equal(value, second[kind][part][name]), name
    assert first[kind]["skipped"] == second[kind]["skipped"] == (1, 0)


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_two_processes_equal_one_with_the_whole_batch(pair: Any, kind: str) -> None:
    """Up to rounding, which grows from step to step: sums are added in another order."""
    (both, _), _ = pair
    alone = state_after_steps(kind, Processes())
    losses = torch.tensor([both[kind]["losses"], alone["losses"]])
    print(kind, (losses[0] - losses[1]).abs() / losses[1])
    for part in ("codec", "discriminators"):
        print(
            part,
            max(
                ((value - alone[part][name]).abs().max() / (value.abs().max() + 1e-6)).item()
                for name, value in both[kind][part].items()
            ),
        )
    print(
        both[kind]["counts"].sum(),
        alone["counts"].sum(),
        (both[kind]["counts"] - alone["counts"]).abs().sum(),
    )
