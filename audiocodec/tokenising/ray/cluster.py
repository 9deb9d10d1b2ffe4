"""Which Ray cluster, and the connection to it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from audiocodec.errors import CodecError
from audiocodec.extras import import_extra, require_extra

OBJECT_STORE_BYTES = 100 * 2**20
"""Of a cluster that is started here. What passes it are numbers of shards and their records."""
CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Cluster:
    """Which cluster, and how it computes.

    Args:
        address: of a running cluster, such as ``10.0.0.1:6379`` or ``auto``; without one, that of
            the variable RAY_ADDRESS, or else a cluster is started on this machine.
        actors: how many at a time. By default one for each GPU, or else for each core.
        model, device, engine, exact: what an actor loads.
    """

    address: str = ""
    actors: int | None = None
    model: str = "speech_16khz"
    device: str = "cpu"
    engine: str = "torch"
    exact: bool = False

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")


def check_cluster(cluster: Cluster) -> None:
    """Check that Ray is installed and somebody listens at the address.

    Raises:
        CodecError: not so.
    """
    import_extra("pandas", "ray", "--runner ray")  # Ray Data needs it, and `ray` alone has it not
    require_extra("ray", "ray", "--runner ray")
    host, _, port = cluster.address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:  # Ray itself tries for ten minutes and longer
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise _unreachable(cluster, error) from None


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """The package ``ray``, connected to the cluster; one that is started here ends at the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    # Ray warns that actors could not be restarted after the end of the process that is the owner
    # of their arguments: this one, with which they end.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = import_extra("ray", "ray", "--runner ray")
    import_extra("ray.data", "ray", "--runner ray")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    here = not ray.is_initialized()
    try:
        if here:
            own = not (cluster.address or os.environ.get("RAY_ADDRESS"))
            local = {
                "num_cpus": cluster.actors,
                "object_store_memory": OBJECT_STORE_BYTES,
                "include_dashboard": False,
            }
            ray.init(
                address=cluster.address or None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(local if own else {}),
            )
        yield ray
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise CodecError(_reason(error, cluster)) from None
    finally:
        if here:
            ray.shutdown()


def _reason(error: BaseException, cluster: Cluster) -> str:
    """What Ray says, in one line; what one of our actors said."""
    if isinstance(error, ConnectionError):
        return str(_unreachable(cluster, error))
    text = str(error)
    for line in reversed(text.splitlines()):
        if "CodecError: " in line:
            return line.partition("CodecError: ")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (
        f"--runner ray: {type(error).__name__}: {lines[0] if lines else 'no reason is known'}; the "
        "finished shards are kept, and the same command goes on"
    )


def _unreachable(cluster: Cluster, error: BaseException) -> CodecError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CodecError(
        f"--address {cluster.address}: no Ray cluster there ({reason}); start one with ray start "
        "--head, or leave --address out"
    )
