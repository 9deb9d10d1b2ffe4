"""A run of several processes: data parallelism by Lightning Fabric, one process for each device.

Codec and discriminators are a ``DistributedDataParallel`` module each, which averages gradients
while they are computed. Beside the process group of the devices there is one for control, on the
CPUs: clock, requests to stop, and waiting for what rank 0 does alone. It does not wait for a GPU.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable

from audiocodec.errors import CodecError
from audiocodec.extras import import_extra
from audiocodec.training.processes import FORWARD_METHODS, Processes, ProcessLostError

DEVICE_TIMEOUT = timedelta(minutes=10)
"""Of one exchange of gradients or statistics. No process works that long on its own between two."""

CONTROL_TIMEOUT = timedelta(days=2)
"""Of waiting for what rank 0 does alone, such as decoding the corpus. The end of a process closes
its connections, which the others notice at once."""


class FabricProcesses(Processes):
    """The processes that torchrun, or ``codec train --devices``, has started.

    Args:
        device: ``cpu`` or ``cuda``, of which each process gets one.

    Attributes:
        device: the one of this process.

    Raises:
        CodecError: Lightning Fabric is not installed, or there are fewer GPUs than processes.
    """

    def __init__(self, device: str) -> None:
        purpose = "training on several devices"
        fabric: Any = import_extra("lightning_fabric", "distributed", purpose)
        strategies: Any = import_extra("lightning_fabric.strategies", "distributed", purpose)
        plugins: Any = import_extra("lightning_fabric.plugins.environments", "distributed", purpose)
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local_size = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        if device == "cuda" and (there := torch.cuda.device_count()) < local_size:
            raise CodecError(
                f"--devices {local_size}: this machine has {there} GPUs; use --devices {there}"
            )
        strategy = strategies.DDPStrategy(
            cluster_environment=plugins.TorchElasticEnvironment(),
            process_group_backend="nccl" if device == "cuda" else "gloo",
            timeout=DEVICE_TIMEOUT,
            broadcast_buffers=False,  # codebooks that learn online do it alike on all ranks
        )
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        with self.watched():
            self._fabric = fabric.Fabric(
                accelerator=device,
                devices=local_size,
                num_nodes=self.size // local_size,
                strategy=strategy,
            )
            self._fabric.launch()
            self._control = distributed.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
        self.device = str(self._fabric.device)
        nodes = self.size // local_size
        self._options = f" --devices {local_size}" + (f" --nodes {nodes}" if nodes > 1 else "")
        self._trained: set[nn.Parameter] = set()  # of the replicated networks

    @property
    def options(self) -> str:
        return self._options

    def by_leader(self, number: float) -> float:
        sent = torch.tensor(number, dtype=torch.float64)
        distributed.broadcast(sent, 0, group=self._control)
        return float(sent)

    def any(self, flag: bool) -> bool:
        count = torch.tensor(int(flag))
        distributed.all_reduce(count, group=self._control)
        return bool(count)

    def barrier(self) -> None:
        self.any(False)

    def means(self, numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = torch.stack([value.detach().float() for value in numbers.values()])
        return dict(zip(numbers, self.mean(values).unbind(), strict=True))

    def mean(self, values: Tensor) -> Tensor:
        values = values.clone()
        self.add_up(values)
        return values / self.size

    def add_up(self, values: Tensor) -> None:
        distributed.all_reduce(values)

    def gather(self, items: Tensor) -> Tensor:
        items = items.contiguous()
        parts = [torch.empty_like(items) for _ in range(self.size)]
        distributed.all_gather(parts, items)
        return torch.cat(parts)

    @torch.no_grad()
    def spread(self, module: nn.Module) -> None:
        self.barrier()  # rank 0 may have worked long on them
        for value in module.state_dict().values():
            distributed.broadcast(value, 0)

    def replicate(self, network: nn.Module) -> nn.Module:
        self._trained |= {p for p in network.parameters() if p.requires_grad}
        with warnings.catch_warnings():  # torch 2.13 prefers a name that torch 2.9 has not
            warnings.filterwarnings("ignore", ".*broadcast_buffers.*")
            module: Any = self._fabric.setup_module(network, move_to_device=False)
        for name in FORWARD_METHODS:
            if hasattr(network, name):
                module.mark_forward_method(name)
        return module

    def backward(
        self,
        loss: Tensor,
        network: nn.Module,
        idle: Sequence[nn.Module] = (),
        inputs: list[Tensor] | None = None,
        retain_graph: bool = False,
    ) -> None:
        """See :meth:`Processes.backward`.

        ``DistributedDataParallel`` waits for a gradient of every parameter. Idle ones get zeros,
        which are taken away again, so that the optimiser leaves these parameters alone. (With
        ``find_unused_parameters`` it would search the graph for them in every step.)
        """
        parameters = [p for module in idle for p in module.parameters() if p in self._trained]
        with _trainable(parameters):
            if inputs is not None:
                inputs = list(dict.fromkeys([*inputs, *parameters]))
            with_zeros: Tensor = _WithZeros.apply(loss, *parameters)
            with_zeros.backward(inputs=inputs, retain_graph=retain_graph)
        self._check_gradients(network)
        for parameter in parameters:
            parameter.grad = None

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        parameters = list(parameters)
        there = [parameter.grad is not None for parameter in parameters]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        count = gradients[0].new_tensor(there)
        summed = torch.cat([count, *(gradient.flatten() for gradient in gradients)])
        self.add_up(summed)
        counts, *sums = summed.split([len(there), *(gradient.numel() for gradient in gradients)])
        for parameter, total, number in zip(parameters, sums, counts.tolist(), strict=True):
            parameter.grad = (total / self.size).view_as(parameter) if number else None

    def _check_gradients(self, network: nn.Module) -> None:
        """Raise unless all trained parameters have a gradient; the others' averages are late."""
        missing = [
            name
            for name, parameter in network.named_parameters()
            if parameter in self._trained and parameter.grad is None
        ]
        if missing:
            more = f" and {len(missing) - 1} more" if missing[1:] else ""
            raise CodecError(
                f"{type(network).__name__}: the losses of this step do not depend on "
                f"{missing[0]}{more}, and several processes exchange the gradients of all "
                "parameters; train with --set schedule.accumulate=2, which exchanges those that "
                "there are, or name its module in idle_parts (audiocodec/training/idle.py)"
            )

    @contextmanager
    def watched(self, remedy: Callable[[], str] = str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            words = ("gloo", "NCCL", "Connection", "Timed out", "store", "socket")
            if not isinstance(error, distributed.DistError) and not any(
                word in str(error) for word in words
            ):
                raise
            raise ProcessLostError(
                f"another of the {self.size} processes of this run has ended or does not answer",
                remedy(),
            ) from error

    def close(self) -> None:
        with self.watched():
            self.barrier()
        distributed.destroy_process_group()


@contextmanager
def _trainable(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """A block in which all of these get gradients."""
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    yield
    for parameter in frozen:
        parameter.requires_grad_(False)


class _WithZeros(torch.autograd.Function):
    """A loss, with gradients of 0 for parameters that it does not depend on."""

    @staticmethod
    def forward(context: Any, loss: Tensor, *parameters: Tensor) -> Tensor:
        context.parameters = parameters
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return gradient, *(torch.zeros_like(parameter) for parameter in context.parameters)
