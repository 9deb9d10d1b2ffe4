"""What the processes of a run do together: here the run of one process, which does it alone.

The trainer and its step ask a :class:`Processes` for all that differs with several processes, each
of which trains a copy of the networks on its part of every batch (``fabric.py``).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from audiocodec.errors import CodecError

if TYPE_CHECKING:
    from audiocodec.training.recipe import Recipe


@dataclass(frozen=True)
class Share:
    """Part ``index`` of ``count`` equal parts of a batch."""

    index: int = 0
    count: int = 1

    def rows(self, batch_size: int) -> slice:
        """Its items among those of the whole batch."""
        part = batch_size // self.count
        return slice(self.index * part, (self.index + 1) * part)


WHOLE = Share()


class ProcessLostError(CodecError):
    """Another process of the run has ended. ``remedy`` says how to continue."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}; {remedy}" if remedy else message)
        self.remedy = remedy


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

    def check(self, recipe: "Recipe") -> None:
        """Raise :class:`CodecError` if the processes cannot train by this recipe."""
        batch_size = recipe.schedule.batch_size
        if self.size > 1 and recipe.data.watch is not None:
            raise CodecError(
                "data.watch: files that arrive are taken in by one process only; train on one "
                "device, or set data.watch=null"
            )
        if batch_size % self.size:
            raise CodecError(
                f"schedule.batch_size: {batch_size} items cannot be divided equally among "
                f"{self.size} processes; set it to a multiple of {self.size}, e.g. "
                f"--set schedule.batch_size={-(-batch_size // self.size) * self.size}"
            )

    def by_leader(self, number: float) -> float:
        """The number that rank 0 has here."""
        return number

    def clock(self) -> float:
        """Seconds, by the clock of rank 0."""
        return self.by_leader(time.monotonic())

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is set on one of the processes."""
        return flag

    def barrier(self) -> None:
        """Wait for all processes, however long one of them takes."""

    @property
    def options(self) -> str:
        """What a command needs for as many processes, after a space: ``--devices 8 --nodes 2``."""
        return ""

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

        Call it for the forward pass; its methods in :data:`FORWARD_METHODS` may be called as well.
        Parameters that need no gradient now never get one.
        """
        return network

    def backward(
        self,
        loss: Tensor,
        network: nn.Module,
        idle: Sequence[nn.Module] = (),
        inputs: list[Tensor] | None = None,
        retain_graph: bool = False,
    ) -> None:
        """``loss.backward(...)``, with gradients averaged over the processes.

        Args:
            loss: of the last call of what :meth:`replicate` returned.
            network: what it was called with.
            idle: the parts of that network on which the loss does not depend, on no process.
            inputs: the parameters that get a gradient; by default all that have one.
            retain_graph: keep the graph for another backward pass.

        Raises:
            CodecError: other parameters have no gradient, with several processes.
        """
        loss.backward(inputs=inputs, retain_graph=retain_graph)

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average gradients that were added up without :meth:`backward` over the processes.

        A parameter without one on some process counts as 0 there, and stays without one if it has
        none on any.
        """

    def watched(self, remedy: Callable[[], str] = str) -> AbstractContextManager[None]:
        """A block in which the end of another process raises :class:`ProcessLostError`.

        ``remedy`` says then how the run can be continued.
        """
        return nullcontext()

    def close(self) -> None:
        """Part from the other processes, after all is done."""


FORWARD_METHODS = ("autoencode",)
"""Methods that are a forward pass of their own."""
