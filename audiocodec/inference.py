"""The context that encoding and decoding run in: the same whatever the caller has set.

Inside ``torch.autocast`` products would be rounded to eight bits, and codes would change. With
gradients enabled the slower layers of training would run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor


class OnDevice(Protocol):
    """What :func:`inference` needs of the object whose method it runs."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""


Owner = TypeVar("Owner", bound=OnDevice)
Arguments = ParamSpec("Arguments")
Method = Callable[Concatenate[Owner, Arguments], Tensor]


def inference(method: Method[Owner, Arguments]) -> Method[Owner, Arguments]:
    """``method`` without gradients and without autocast; the result is an ordinary tensor.

    ``torch.inference_mode`` makes a 20 ms frame 7 to 10 % quicker than ``torch.no_grad`` does. A
    tensor made in it may not be changed in place or saved for a gradient, hence the copy.
    """

    @wraps(method)
    def call(self: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            result = method(self, *args, **kwargs)
        return result.clone()

    return call
