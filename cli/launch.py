"""`codec train --devices N`: one process for each device of this machine, and what they come to.

The processes find each other by the environment variables that torchrun sets for its own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from audiocodec.cores import available_cores
from audiocodec.errors import CodecError

if TYPE_CHECKING:
    from audiocodec.training.processes import Processes

LOST = 75
"""Exit status of a process that ends because another one has ended (EX_TEMPFAIL)."""

GRACE_SECONDS = 15.0
"""Time that the other processes have to end by themselves, after one has failed."""

PROGRAM = (sys.executable, "-m", __package__)

LAST_WORDS = "AUDIOCODEC_LAST_WORDS"
"""Variable that names the file in which such a process says how the run can be continued."""


class Worker(NamedTuple):
    """One process, and the files that it writes to."""

    rank: int
    process: subprocess.Popen[bytes]
    errors: Path
    words: Path


def was_launched() -> bool:
    """Whether this process is one of several that torchrun or `codec train` has started."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def check_devices(devices: int, nodes: int) -> None:
    """Check that --devices and --nodes, where given, are what torchrun has started.

    Raises:
        CodecError: they are not.
    """
    size = int(os.environ["WORLD_SIZE"])
    local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if (devices, nodes) != (1, 1) and (devices, nodes) != (local, size // local):
        raise CodecError(
            f"--devices {devices} --nodes {nodes}: {size} processes were started, {local} on each "
            "machine; leave out --devices and --nodes under torchrun"
        )


@contextmanager
def joined(device: str) -> Iterator[tuple[Processes, str]]:
    """The processes that train together, and this one's device. Those behind rank 0 are silent.

    If another process is lost, rank 0 says so, or ``codec train`` that has started them.
    """
    from audiocodec.training.processes import Processes, ProcessLostError

    if not was_launched():
        yield Processes(), device
        return
    from audiocodec.training.fabric import FabricProcesses

    rank, words = int(os.environ["RANK"]), os.environ.get(LAST_WORDS)
    try:
        with ExitStack() as stack:
            if rank:
                stack.enter_context(redirect_stderr(stack.enter_context(open(os.devnull, "w"))))
            processes = FabricProcesses(device)
            with processes.watched():
                yield processes, processes.device
            processes.close()
    except ProcessLostError as error:
        if words:
            Path(words).write_text(error.remedy)
        elif rank == 0:
            raise
        click.get_current_context().exit(LOST)


def launch(
    devices: int, nodes: int, arguments: tuple[str, ...], program: Sequence[str] = PROGRAM
) -> int:
    """Run `codec` with `arguments` in one process for each device; returns the exit status.

    The process of rank 0 has this one's output. What the others print is kept until one fails.
    """
    common = meeting_point(devices, nodes)
    received: list[int] = []
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: received.append(number))
    with tempfile.TemporaryDirectory(prefix="codec-train-") as folder:
        workers = [
            _start(local, devices, common, (*program, *arguments), Path(folder))
            for local in range(devices)
        ]
        try:
            failed = _wait(workers, received)
        finally:
            _end(workers)
        return _result(workers, failed, devices * nodes)


def meeting_point(devices: int, nodes: int) -> dict[str, str]:
    """The variables that are the same for all processes of this machine."""
    address, node, port = "127.0.0.1", 0, ""
    if nodes > 1:
        try:
            node = int(os.environ.get("NODE_RANK") or os.environ["SLURM_NODEID"])
            address = os.environ.get("MASTER_ADDR") or _first_host(os.environ["SLURM_NODELIST"])
            port = os.environ.get("MASTER_PORT", "")
            port = port or str(20_000 + int(os.environ["SLURM_JOB_ID"]) % 20_000)
        except (KeyError, ValueError):
            raise CodecError(
                f"--nodes {nodes}: this machine does not know its number; start the command on "
                "each machine with srun, or set NODE_RANK, MASTER_ADDR and MASTER_PORT"
            ) from None
    else:
        with socket.socket() as free:
            free.bind((address, 0))
            port = str(free.getsockname()[1])
    threads = str(max(1, available_cores() // devices))
    return {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        "TORCHELASTIC_RUN_ID": "codec-train",
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
        "GROUP_RANK": str(node),
        "WORLD_SIZE": str(devices * nodes),
        "LOCAL_WORLD_SIZE": str(devices),
    }


def _first_host(hosts: str) -> str:
    """The first of SLURM's list: `node[03-05,9],other` -> `node03`."""
    name, _, numbers = hosts.partition("[")
    if "," in name or not numbers:
        return name.partition(",")[0]
    return name + numbers.partition("]")[0].replace("-", ",").partition(",")[0]


def _start(
    local: int, devices: int, common: Mapping[str, str], words: tuple[str, ...], folder: Path
) -> Worker:
    rank = int(common["GROUP_RANK"]) * devices + local
    errors, last_words = folder / f"{local}.errors", folder / f"{local}.words"
    variables = {"RANK": str(rank), "LOCAL_RANK": str(local), LAST_WORDS: str(last_words)}
    with errors.open("wb") as file:
        process = subprocess.Popen(
            words,
            env={**os.environ, **common, **variables},
            stdout=None if rank == 0 else subprocess.DEVNULL,
            stderr=None if rank == 0 else file,
            start_new_session=True,  # Ctrl-C comes once, from here
        )
    return Worker(rank, process, errors, last_words)


def _wait(workers: list[Worker], received: list[int]) -> Worker | None:
    """Wait until all have ended; returns the one that failed, and not because of another.

    A signal is passed on. After a failure the others have some time to end.
    """
    failed: list[Worker] = []
    until, passed_on = float("inf"), False
    while any(worker.process.poll() is None for worker in workers) and time.monotonic() < until:
        if received and not passed_on:
            passed_on = True
            for worker in workers:
                worker.process.terminate()
        if not failed and any(worker.process.poll() for worker in workers):
            until = time.monotonic() + GRACE_SECONDS
        failed += [w for w in workers if w.process.poll() and w not in failed]
        time.sleep(0.05)
    failed += [w for w in workers if w.process.poll() and w not in failed]
    return next((w for w in failed if w.process.returncode != LOST), next(iter(failed), None))


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
        worker.process.wait()


def _result(workers: list[Worker], failed: Worker | None, count: int) -> int:
    """The exit status, after a line about what failed, unless rank 0 has printed it."""
    if failed is None:
        return 0
    status = workers[0].process.returncode
    if workers[0].rank == 0 and status > 0 and status != LOST:
        return status
    status = failed.process.returncode
    if status < 0:
        reason = f"process {failed.rank} of {count} was ended by {signal.Signals(-status).name}"
    elif status == LOST:
        reason = "another process has ended"
    elif lines := _text(failed.errors).splitlines():
        reason = f"process {failed.rank} of {count}: {lines[-1].removeprefix('error: ')}"
    else:
        reason = f"process {failed.rank} of {count} ended with status {status}"
    words = [text for worker in workers if (text := _text(worker.words))]
    click.echo(f"error: {'; '.join([reason, *words[:1]])}", err=True)
    return 1


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""
