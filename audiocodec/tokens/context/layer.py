"""A linear layer in integers that float32 computes exactly, and reading such layers from files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.errors import CodecError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Tensors = Mapping[str, npt.NDArray[Any]]

EXACT = 2**24
"""float32 holds every integer up to this."""
MAX_SHIFT = 20


class TensorFile:
    """Checks of the tensors of one file, which is untrusted input."""

    def __init__(self, tensors: Tensors, path: Path) -> None:
        self.tensors, self.path = tensors, path

    def get(
        self, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]
    ) -> npt.NDArray[Any]:
        """The tensor ``name``; ``None`` in ``shape`` is any length of at least 1.

        Raises:
            CodecError: absent, or of another type or shape.
        """
        if name not in self.tensors:
            raise self.error(f"`{name}` is absent")
        value = self.tensors[name]
        fits = len(value.shape) == len(shape) and all(
            found == due if due is not None else found >= 1
            for found, due in zip(value.shape, shape, strict=True)
        )
        if value.dtype != dtype or not fits:
            due = str([length or "any" for length in shape]).replace("'", "")
            raise self.error(
                f"`{name}` is {value.dtype} {list(value.shape)}, not {np.dtype(dtype)} {due}"
            )
        return value

    def fingerprint(self) -> str:
        """16 hex digits that change with any bit of the tensors."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            value = np.ascontiguousarray(self.tensors[name])
            digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()[:16]

    def error(self, problem: str) -> CodecError:
        return CodecError(f"{self.path}: not a context model: {problem}; get the file again")


class Layer:
    """``floor(x @ weight.T * 2**-shift) + bias``, exact for integer inputs ``x`` up to a bound.

    ``weight`` int8 ``[outputs, inputs]``, ``shift`` int8 ``[outputs]``, ``bias`` int16
    ``[outputs]``.

    Attributes:
        matrix: float32 ``[inputs, outputs]``, with the scales in it: exact, as they are powers of
            two.
        bias: float32 ``[outputs]``.

    Args:
        bounds: the greatest magnitude of each input, int ``[inputs]``.

    Raises:
        CodecError: tensors of other shapes or types, or sums that float32 cannot hold exactly.
    """

    def __init__(self, file: TensorFile, name: str, outputs: int | None, bounds: Ints) -> None:
        weight = file.get(f"{name}.weight", np.int8, (outputs, len(bounds)))
        shift = file.get(f"{name}.shift", np.int8, (len(weight),))
        bias = file.get(f"{name}.bias", np.int16, (len(weight),))
        if shift.min() < 0 or shift.max() > MAX_SHIFT:
            raise file.error(f"`{name}.shift` is not within 0 and {MAX_SHIFT}")
        sums = np.abs(weight.astype(np.int64)) @ bounds
        sums += np.abs(bias.astype(np.int64)) << shift.astype(np.int64)
        if sums.max() >= EXACT:
            raise file.error(f"sums of `{name}` may reach {sums.max()}, 2^24 or more")
        scaled = np.ldexp(weight.astype(np.float32), -shift.astype(np.int32)[:, None])
        self.matrix: Floats = np.ascontiguousarray(scaled.T)
        self.bias: Floats = bias.astype(np.float32)

    def finish(self, sums: Floats) -> Floats:
        """``floor(sums) + bias`` of products with (parts of) ``matrix``, in place."""
        sums += self.bias
        return np.floor(sums, out=sums)
