"""A run of several processes: data parallelism by Lightning Fabric, one process for each device.

Codec and discriminators are a ``DistributedDataParallel`` module each, which averages gradients
while they are computed. Beside the process group of the devices there is one for control, on the
CPUs: clock, requests to stop, and waiting for what rank 0 does alone. It does not wait for a GPU.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable

from audiocodec.extras import import_extra
from audiocodec.training.processes import FORWARD_METHODS, Processes, ProcessLost

DEVICE_TIMEOUT = timedelta(minutes=10)
"""Of one exchange of gradients or statistics. No process works that long on its own between two."""

CONTROL_TIMEOUT = timedelta(days=2)
"""Of waiting for what rank 0 does alone, such as decoding the corpus. The end of a process closes
its connections, which the others notice at once."""


def was_launched() -> bool:
    """Whether this process is one of several that torchrun or ``codec train`` has started."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


class FabricProcesses(Processes):
    """The processes that torchrun, or ``codec train --devices``, has started.

    Args:
        device: ``cpu`` or ``cuda``, of which each process gets one.

    Attributes:
        device: the one of this process.

    Raises:
        CodecError: Lightning Fabric is not installed.
    """

    def __init__(self, device: str) -> None:
        purpose = "training on several devices"
        fabric: Any = import_extra("lightning_fabric", "distributed", purpose)
        strategies: Any = import_extra("lightning_fabric.strategies", "distributed", purpose)
        plugins: Any = import_extra("lightning_fabric.plugins.environments", "distributed", purpose)
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local_size = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        strategy = strategies.DDPStrategy(
            cluster_environment=plugins.TorchElasticEnvironment(),
            process_group_backend="nccl" if device == "cuda" else "gloo",
            timeout=DEVICE_TIMEOUT,
            broadcast_buffers=False,  # codebooks that learn online do it alike on all ranks
        )
        with self.losses_of_processes():
            self._fabric = fabric.Fabric(
                accelerator=device,
                devices=local_size,
                num_nodes=self.size // local_size,
                strategy=strategy,
            )
            self._fabric.launch()
            self._control = distributed.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
        self.device = str(self._fabric.device)

    def clock(self) -> float:
        now = torch.tensor(super().clock(), dtype=torch.float64)
        distributed.broadcast(now, 0, group=self._control)
        return float(now)

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
        parts = [torch.empty_like(items, memory_format=torch.contiguous_format) for _ in range(self.size)]
        distributed.all_gather(parts, items.contiguous())
        return torch.cat(parts)

    @torch.no_grad()
    def spread(self, module: nn.Module) -> None:
        self.barrier()  # rank 0 may have worked long on them
        for value in module.state_dict().values():
            distributed.broadcast(value, 0)

    def replicate(self, network: nn.Module) -> nn.Module:
        module: Any = self._fabric.setup_module(network, move_to_device=False)
        for name in FORWARD_METHODS:
            if hasattr(network, name):
                module.mark_forward_method(name)
        return module

    def backward(self, loss: Tensor, idle: Sequence[nn.Module] = ()) -> None:
        """See :meth:`Processes.backward`.

        ``DistributedDataParallel`` waits for a gradient of every parameter. Idle ones get zeros,
        which are taken away again, so that the optimiser leaves these parameters alone. (With
        ``find_unused_parameters`` it would search the graph for them in every step.)
        """
        parameters = [parameter for module in idle for parameter in module.parameters()]
        frozen = [parameter for parameter in parameters if not parameter.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)
        _WithZeros.apply(loss, *parameters).backward()
        for parameter in parameters:
            parameter.grad = None
        for parameter in frozen:
            parameter.requires_grad_(False)

    @contextmanager
    def losses_of_processes(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            words = ("gloo", "NCCL", "Connection", "Timed out", "store", "socket")
            if not isinstance(error, distributed.DistError) and not any(
                word in str(error) for word in words
            ):
                raise
            raise ProcessLost(
                f"another of the {self.size} processes of this run has ended or does not answer"
            ) from error


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
