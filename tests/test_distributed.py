"""Training in several processes: two on this CPU, which agree, equal one, and end together.

The processes are forked from a server that has imported everything once.
"""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ranks import QUANTIZERS, compare, go_on_and_die, run_rank, state_after_steps, tiny

from audiocodec.errors import CodecError
from audiocodec.training import Trainer
from audiocodec.training.data.decoded import DecodedAudio
from audiocodec.training.data.segments import SegmentSampler
from audiocodec.training.processes import Processes, Share
from audiocodec.training.runfolder import release
from audiocodec_cli.launch import launch, meeting_point

IMPORTED = ["audiocodec.training.fabric", "audiocodec.training.trainer", "lightning_fabric"]
IMPORTED += ["lightning_fabric.strategies", "lightning_fabric.plugins.environments"]
IMPORTED += ["torch.nn.parallel.distributed", "torch._dynamo"]


def two_processes(
    task: Callable[[Processes, Path], dict[str, Any]], folder: Path
) -> list[dict[str, Any]]:
    """What ``task`` returns on rank 0 and on rank 1."""
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for file in folder.glob("*.pt"):
        file.unlink()
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
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """Two processes that have trained, and their folder."""
    folder = tmp_path_factory.mktemp("pair")
    return two_processes(compare, folder), folder


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_two_processes_have_equal_weights(pair: Any, kind: str) -> None:
    (first, second), _ = pair
    for part in ("codec", "discriminators"):
        for name, value in first[kind][part].items():
            assert torch.equal(value, second[kind][part][name]), name
    assert first[kind]["skipped"] == second[kind]["skipped"] == (1, 0)


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, Any]]:
    """One process that has trained on whole batches, by kind of codebook."""
    return {kind: state_after_steps(kind, Processes()) for kind in QUANTIZERS}


def assert_equal_training(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Up to rounding, which grows from step to step: sums are added in another order."""
    assert found["skipped"] == expected["skipped"] == (1, 0)
    assert torch.equal(found["counts"], expected["counts"])  # the same codes in every step
    losses, those = (torch.tensor(x["losses"]) for x in (found, expected))
    torch.testing.assert_close(losses, those, rtol=1e-5, atol=0, equal_nan=True)
    for part in ("codec", "discriminators"):
        for name, value in found[part].items():
            most = float(expected[part][name].abs().max())
            torch.testing.assert_close(value, expected[part][name], rtol=0, atol=5e-3 * most + 1e-6)


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_two_processes_equal_one_with_the_whole_batch(pair: Any, alone: Any, kind: str) -> None:
    (both, _), _ = pair
    assert_equal_training(both[kind], alone[kind])


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_two_parts_one_after_the_other_equal_the_whole_batch(alone: Any, kind: str) -> None:
    assert_equal_training(state_after_steps(kind, Processes(), parts=2), alone[kind])


def test_two_parts_in_each_of_two_processes_equal_one_with_the_whole_batch(
    pair: Any, alone: Any
) -> None:
    (first, second), _ = pair
    assert_equal_training(first["parts"], alone["ema_vq"])
    for name, value in first["parts"]["codec"].items():
        assert torch.equal(value, second["parts"]["codec"][name]), name


def test_an_unknown_idle_parameter_is_one_line_with_the_remedy(pair: Any) -> None:
    (first, second), _ = pair
    assert first["mistake"] == second["mistake"]
    assert re.fullmatch(
        r"1: Codec: the losses of this step do not depend on decoder\.first\.conv\S* and 2 more, .*"
        r"--set schedule\.accumulate=2, .*",
        first["mistake"],
    )


def test_the_processes_agree_on_time_and_on_stopping(pair: Any) -> None:
    (first, second), _ = pair
    assert first["clock"] == second["clock"]
    assert first["any"] == second["any"] == [True, False]


def test_a_run_goes_on_with_another_number_of_processes_and_ends_with_one_of_them(
    pair: Any,
) -> None:
    """From two processes to one and back; then one of them is killed."""
    _, folder = pair
    alone = Trainer(tiny(), folder / "run", resume=True)
    assert alone.step == 3
    alone.train_step()
    alone.save()
    release(alone.folder)
    first, second = two_processes(go_on_and_die, folder)
    assert first["began"] == second["began"] == 4
    for name, value in alone.training_step.codec.state_dict().items():
        assert torch.equal(first["codec"][name], value), name
        assert torch.equal(second["codec"][name], value), name
    assert first["error"] == (
        "another of the 2 processes of this run has ended or does not answer; the checkpoint of "
        f"step 5 is whole, continue from it with codec train --resume {folder / 'run'} --devices 2"
    )
    assert Trainer(tiny(), folder / "run", resume=True).step == 5


def test_shares_of_a_batch_are_the_batch() -> None:
    names = ("room", "babble", "noise", "rumble", "hum", "offset")
    config = tiny(*(f"data.augment.{name}.probability=0.7" for name in names)).data
    noise = np.random.default_rng(0).normal(0, 3000, 40_000).astype(np.int16)

    def batch(share: Share) -> torch.Tensor:
        audio = DecodedAudio([noise], config, 16000, torch.device("cpu"))
        sampler = SegmentSampler(audio, config, 16000, 6, 0, share)
        return torch.cat(list(sampler.batch(5)), dim=1)

    parts = torch.cat([batch(Share(index, 3)) for index in range(3)])
    torch.testing.assert_close(parts, batch(Share()), rtol=1e-5, atol=1e-6)


def test_recipes_that_several_processes_cannot_train_are_refused() -> None:
    three = Processes()
    three.size = 3
    with pytest.raises(CodecError, match=r"4 items .* 3 processes.*schedule\.batch_size=6$"):
        three.check(tiny())
    with pytest.raises(CodecError, match=r"data\.watch=null"):
        three.check(tiny("schedule.batch_size=6", "data.watch=1m"))


# The launcher, of a program that does nothing but end.

PROGRAM = """
import os, pathlib, signal, sys, time
rank, case = os.environ["RANK"], sys.argv[1]
print("rank", rank, *[os.environ[name] for name in ("LOCAL_RANK", "WORLD_SIZE")], flush=True)
if case == "stops":
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    if rank == "1":
        os.kill(os.getppid(), signal.SIGINT)
    while not stopped:
        time.sleep(0.01)
elif case != "ends" and rank == "1":
    print("error: data.root: gone", file=sys.stderr)
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL) if case == "dies" else sys.exit(1)
elif case != "ends":
    time.sleep(0.2)
    pathlib.Path(os.environ["AUDIOCODEC_LAST_WORDS"]).write_text("continue with this")
    sys.exit(75)
"""


@pytest.mark.parametrize(
    ("case", "status", "line"),
    [
        ("ends", 0, ""),
        ("stops", 0, ""),
        ("dies", 1, "error: process 1 of 2 was ended by SIGKILL; continue with this\n"),
        ("fails", 1, "error: process 1 of 2: data.root: gone; continue with this\n"),
    ],
)
def test_a_launched_run_ends_with_one_line(
    case: str, status: int, line: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    handlers = {number: signal.getsignal(number) for number in (2, 15, 1)}
    try:
        assert launch(2, 1, (case,), [sys.executable, str(tmp_path / "program.py")]) == status
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert capfd.readouterr() == ("rank 0 0 2\n", line)


def test_machines_of_a_run_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_RANK", raising=False)
    with pytest.raises(CodecError, match=r"--nodes 2: .* srun, or set NODE_RANK"):
        meeting_point(4, 2)
    monkeypatch.setenv("SLURM_NODEID", "1")
    monkeypatch.setenv("SLURM_NODELIST", "gpu[03-05,9],other")
    monkeypatch.setenv("SLURM_JOB_ID", "123456")
    found = meeting_point(4, 2)
    assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == ("gpu03", "23456")
    assert (found["GROUP_RANK"], found["WORLD_SIZE"], found["LOCAL_WORLD_SIZE"]) == ("1", "8", "4")
