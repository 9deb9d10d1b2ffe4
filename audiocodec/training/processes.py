"""What the processes of a run do together: here the run of one process, which does it alone.

The trainer and its step ask a :class:`Processes` for all that differs with several processes, each
of which trains a copy of the networks on its part of every batch (``fabric.py``).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

from torch import Tensor, nn

from audiocodec.errors import CodecError


class Share(NamedTuple):
    """Part ``index`` of ``count`` equal parts of a batch."""

    index: int = 0
    count: int = 1

    def rows(self, batch_size: int) -> slice:
        """Its items among those of the whole batch."""
        part = batch_size // self.count
        return slice(self.index * part, (self.index + 1) * part)


WHOLE = Share()


class ProcessLost(CodecError):
    """Another process of the run has ended."""


class Processes:
    """One process. A subclass is several: each calls the same methods in the same order."""

    rank = 0
    size = 1

    @property
    def share(self) -> Share:
        """This process's part of each batch."""
        return Share(self.rank, self.size)

    @property
    def leads(self) -> bool:
        """Whether this process writes the run's files and its output: rank 0."""
        return self.rank == 0

    def check_batch(self, batch_size: int) -> None:
        """Raise :class:`CodecError` if a batch cannot be divided among the processes."""
        if batch_size % self.size:
            raise CodecError(
                f"schedule.batch_size: {batch_size} items cannot be divided equally among "
                f"{self.size} processes; set it to a multiple of {self.size}, e.g. "
                f"--set schedule.batch_size={-(-batch_size // self.size) * self.size}"
            )

    def clock(self) -> float:
        """Seconds, by the clock of rank 0."""
        return time.monotonic()

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is set on one of the processes."""
        return flag

    def barrier(self) -> None:
        """Wait for all processes, however long one of them takes."""

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """A block that rank 0 runs before the others do."""
        if not self.leads:
            self.barrier()
        yield
        if self.leads:
            self.barrier()

    def means(self, numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scalars by name -> their means over the processes, without a gradient."""
        return {name: value.detach() for name, value in numbers.items()}

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, element by element."""
        return values

    def add_up(self, values: Tensor) -> None:
        """Replace ``values`` by their sum over the processes."""

    def gather(self, items: Tensor) -> Tensor:
        """Items ``[b, ...]`` of all processes, of rank 0 first: ``[size b, ...]``."""
        return items

    def spread(self, module: nn.Module) -> None:
        """Give parameters and buffers the values that they have on rank 0."""

    def replicate(self, network: nn.Module) -> nn.Module:
        """``network`` such that :meth:`backward` averages its gradients over the processes.

        Call it for the forward pass. Its methods in :data:`FORWARD_METHODS` may be called as well.
        """
        return network

    def backward(self, loss: Tensor, idle: Sequence[nn.Module] = ()) -> None:
        """Compute gradients, averaged over the processes.

        Args:
            loss: of the last call of a network that :meth:`replicate` returned.
            idle: the parts of that network on which the loss does not depend, on no process.
        """
        loss.backward()

    def losses_of_processes(self) -> AbstractContextManager[None]:
        """A block in which the end of another process raises :class:`ProcessLost`."""
        return nullcontext()


FORWARD_METHODS = ("autoencode",)
"""Methods that are a forward pass of their own."""
