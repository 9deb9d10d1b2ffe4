"""The weights of a model in CTranslate2's format, as tensors.

``model.bin`` is little-endian: version (u32), name of the architecture, revision (u32); the number
of variables (u32), and for each its name, rank (u8), dimensions (u32), type (u8), size in bytes
(u32) and values; then the number of aliases (u32), and for each two names. A name is its length
with a closing zero byte (u16), and the bytes. (``ModelSpec._serialize`` of CTranslate2 writes it;
the package itself reads it into its own memory only.)
"""

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiocodec.errors import CodecError

VERSION = 6
TYPES: dict[int, str] = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
"""NumPy's types by CTranslate2's numbers. Floating point in 16 bits becomes float32."""


def read_ct2_weights(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The name of the architecture, e.g. ``WhisperSpec``, and the variables by name.

    Raises:
        CodecError: the file cannot be read, is damaged or of another version, or has weights in a
            type that is not known here.
    """
    try:
        return _Reader(path.read_bytes()).read()
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise CodecError(
            f"{path}: damaged, or not a model of CTranslate2 ({error}); convert or copy it again"
        ) from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def read(self) -> tuple[str, dict[str, Tensor]]:
        version = self.number("I")
        if version != VERSION:
            raise ValueError(f"version {version} instead of {VERSION}")
        architecture, _ = self.text(), self.number("I")
        weights = {self.text(): self.tensor() for _ in range(self.number("I"))}
        for _ in range(self.number("I")):
            alias, name = self.text(), self.text()
            weights[alias] = weights[name]
        return architecture, weights

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from(f"<{kind}", self.data, self.position)
        self.position += struct.calcsize(f"<{kind}")
        return int(value)

    def take(self, size: int) -> bytes:
        piece = self.data[self.position : self.position + size]
        if len(piece) < size:
            raise ValueError(f"ends after {len(self.data)} bytes")
        self.position += size
        return piece

    def text(self) -> str:
        return self.take(self.number("H"))[:-1].decode()

    def tensor(self) -> Tensor:
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind, size = self.number("B"), self.number("I")
        if kind not in TYPES:
            raise ValueError(f"weights of type {kind}; convert the model in float16")
        values = np.frombuffer(self.take(size), TYPES[kind]).reshape(shape)
        return torch.from_numpy(values.astype(np.float32) if kind == 4 else values.copy())
