"""Codes as a run of bits: ceil(log2(size)) bits a code, highest first, with no gap between."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audiocodec.errors import CodecError

Codes = npt.NDArray[np.int64]


def pack(codes: Codes, sizes: tuple[int, ...]) -> bytes:
    """Codes ``[C, K, F]`` -> bits by frame, channel, codebook; zero bits up to a whole byte.

    Raises:
        CodecError: a code outside its codebook.
    """
    channels, _, frames = codes.shape
    if (codes < 0).any() or (codes >= np.array(sizes)[None, :, None]).any():
        raise CodecError(f"codes outside their codebooks of {sizes} entries")
    shifts, owners = _bit_layout(sizes)
    by_frame = codes.transpose(2, 0, 1)  # [F, C, K]
    bits = (by_frame[:, :, owners] >> shifts) & 1
    return np.packbits(bits.astype(np.uint8).reshape(frames * channels * len(shifts))).tobytes()


def unpack(data: bytes, frames: int, channels: int, sizes: tuple[int, ...]) -> Codes:
    """The inverse of :func:`pack`: int64 ``[C, K, F]``."""
    shifts, owners = _bit_layout(sizes)
    count = frames * channels * len(shifts)
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count).astype(np.int64)
    weights = np.zeros((len(shifts), len(sizes)), dtype=np.int64)
    weights[np.arange(len(shifts)), owners] = 1 << shifts
    return (bits.reshape(frames, channels, len(shifts)) @ weights).transpose(1, 2, 0)


def bits_per_code(sizes: tuple[int, ...]) -> list[int]:
    """ceil(log2(size)) of each size."""
    return [(size - 1).bit_length() for size in sizes]


def _bit_layout(sizes: tuple[int, ...]) -> tuple[Codes, Codes]:
    """For each bit of one channel's frame: its place in its code, and that code's codebook."""
    bits = bits_per_code(sizes)
    shifts = [shift for count in bits for shift in reversed(range(count))]
    return np.array(shifts, dtype=np.int64), np.repeat(np.arange(len(sizes)), bits)
