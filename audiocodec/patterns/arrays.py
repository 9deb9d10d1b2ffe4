"""NumPy arrays and tensors of integers alike. This package does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import CodecError


def integers(values: Any, what: str) -> Any:
    """A tensor or NumPy array of any integer type, as int64 of the same library and device.

    Raises:
        CodecError: of another type; ``what`` is the subject of the message.
    """
    if hasattr(values, "new_full"):  # a tensor
        if values.is_floating_point() or values.dtype.is_complex or "bool" in str(values.dtype):
            raise CodecError(f"{what} must be integers, not {values.dtype}")
        return values.long()
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise CodecError(f"{what} must be integers, not {array.dtype}")
    return array.astype(np.int64, copy=False)


def filled(like: Any, shape: Sequence[int], value: int) -> Any:
    """A new array of ``shape`` full of ``value``, of the library and device of ``like``."""
    if hasattr(like, "new_full"):
        return like.new_full(tuple(shape), value)
    return np.full(shape, value, np.int64)


def column(like: Any, values: Sequence[int]) -> Any:
    """``values`` as a column ``[K, 1]``, of the library and device of ``like``."""
    array = np.array(values, np.int64)[:, None]
    return like.new_tensor(array) if hasattr(like, "new_tensor") else array


def numpy_array(values: Any) -> NDArray[np.int64]:
    """A tensor or an array as a NumPy array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def check_range(values: Any, allowed: Sequence[range], what: str) -> None:
    """Raise :class:`CodecError` unless ``values [..., K, F]`` lie in the ``K`` ranges ``allowed``.

    Args:
        what: the values, for the message.
    """
    low = column(values, [ids.start for ids in allowed])
    high = column(values, [ids.stop for ids in allowed])
    outside = (values < low) | (values >= high)
    if not bool(outside.any()):
        return
    *place, codebook, frame = np.argwhere(numpy_array(outside))[0]
    found = numpy_array(values)[(*place, codebook, frame)]
    ids = allowed[codebook]
    raise CodecError(
        f"{what} of codebook {codebook + 1} lie in {ids.start} to {ids.stop - 1}, not {found} "
        f"(frame {frame})"
    )
