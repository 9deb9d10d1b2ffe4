"""The memory that training uses: its peak, what a machine lacks, and what happens when it ends."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from audiocodec.errors import CodecError


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn exhausted memory, of the machine or of a GPU, into a :class:`CodecError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise CodecError(
            "schedule.accumulate: memory is exhausted; raise it, to compute a batch in more parts, "
            "or lower data.segment_seconds or the codec's channels "
            f"({(str(error).splitlines() or ['out of memory'])[0]})"
        ) from None


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says that memory is exhausted, or came of one that does.

    PyTorch has its own class of them for GPUs alone; when a CUDA graph is recorded, the error is
    another one that follows.
    """
    words = ("can't allocate memory", "not enough memory", "out of memory")
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and any(word in str(error) for word in words):
            return True
        error = error.__context__
    return False


def memory_shortage_in(function: Callable[[], object]) -> str:
    """Call ``function``. Returns why memory did not suffice for it; empty if it did.

    The error is gone then, with the tensors of the frames that it went through.
    """
    try:
        function()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return (str(error).splitlines() or ["out of memory"])[0]
    return ""


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that this process has used so far, on a GPU or on the machine.

    ``None`` where the operating system does not report it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory_shortage(needed: int | None, device: str) -> str:
    """An error message if the machine has less memory than ``needed`` bytes; else empty."""
    known = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})
    if needed is None or device != "cpu" or not known:
        return ""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed <= memory:
        return ""
    return (
        f"schedule.accumulate: a step needs about {needed / 1e9:.0f} GB of memory, this machine "
        f"has {memory / 1e9:.0f} GB; raise it, or lower data.segment_seconds"
    )
