"""The engines that compute a codec in use, by name: one function and one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.runtime import Engine


def _torch(codec: Codec) -> Engine:
    from audiocodec.runtime import TorchEngine

    return TorchEngine(codec)


def _onnx(codec: Codec) -> Engine:
    from audiocodec.onnx.engine import OnnxEngine

    return OnnxEngine(codec)


ENGINES: dict[str, Callable[[Codec], Engine]] = {"torch": _torch, "onnx": _onnx}
"""Name -> what makes the engine of a codec without weight norm and gradients, which it may keep."""
