"""Codes packed into bits: ceil(log2(size)) bits per code, highest first, with no gap between."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.errors import CodecError
from audiocodec.tokens.rates import code_bits

Codes = npt.NDArray[np.int64]


def code_array(codes: Any) -> Codes:
    """An array or tensor of any integer type, ``[K, F]`` or ``[C, K, F]`` -> int64 ``[C, K, F]``.

    Raises:
        CodecError: not integers, or another shape.
    """
    if hasattr(codes, "detach"):  # a tensor, possibly on a GPU; this module does not import torch
        codes = codes.detach().cpu()
    array = np.asarray(codes)
    if array.dtype.kind not in "iu":
        raise CodecError(f"codes must be integers, not {array.dtype}")
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise CodecError(f"codes must be [channels, codebooks, frames], not {list(array.shape)}")
    return array.astype(np.int64, copy=False)


def check_codes(codes: Codes, sizes: tuple[int, ...]) -> None:
    """Raise :class:`CodecError` unless ``codes [C, K, F]`` lie in ``K`` codebooks of ``sizes``."""
    if codes.shape[1] != len(sizes):
        raise CodecError(f"codes have {codes.shape[1]} codebooks, and {len(sizes)} sizes are given")
    if (codes < 0).any() or (codes >= np.array(sizes)[None, :, None]).any():
        raise CodecError(f"codes outside their codebooks of {sizes} entries")


def pack(codes: Any, sizes: Sequence[int]) -> bytes:
    """Codes ``[C, K, F]`` -> bits by frame, channel, codebook; zero bits up to a whole byte.

    ``C`` channels, ``K`` codebooks, ``F`` frames. :func:`unpack` is the inverse. A
    :class:`~audiocodec.TokenWriter` adds what a file needs: a header, checksums, the length.

    Args:
        codes: a NumPy array or tensor of integers; ``[K, F]`` means one channel.
        sizes: entries of each of the ``K`` codebooks, such as ``codec.codebook_sizes[:K]``.

    Returns:
        ``ceil(C * F * sum(ceil(log2(size))) / 8)`` bytes.

    Raises:
        CodecError: a code outside its codebook, or another number of codebooks.
    """
    codes, sizes = code_array(codes), tuple(sizes)
    check_codes(codes, sizes)
    channels, _, frames = codes.shape
    shifts, owners, _ = _bit_layout(sizes)
    by_frame = codes.transpose(2, 0, 1)  # [F, C, K]
    bits = (by_frame[:, :, owners] >> shifts) & 1
    return np.packbits(bits.astype(np.uint8).reshape(frames * channels * len(shifts))).tobytes()


def unpack(data: bytes, frames: int, channels: int, sizes: Sequence[int]) -> Codes:
    """The inverse of :func:`pack`: int64 ``[C, K, F]``.

    Args:
        data: the bytes that :func:`pack` returned. They do not say how many codes they hold.
        frames: ``F``.
        channels: ``C``.
        sizes: entries of each of the ``K`` codebooks.

    Raises:
        CodecError: too few bytes.
    """
    shifts, _, weights = _bit_layout(tuple(sizes))
    count = frames * channels * len(shifts)
    if len(data) * 8 < count:
        raise CodecError(
            f"{frames} frames of {channels} channels take {-(-count // 8)} bytes, not {len(data)}"
        )
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count).astype(np.int64)
    return (bits.reshape(frames, channels, len(shifts)) @ weights).transpose(1, 2, 0)


@lru_cache(maxsize=16)
def _bit_layout(sizes: tuple[int, ...]) -> tuple[Codes, Codes, Codes]:
    """Of the N bits of one frame and channel, highest bit of each code first:

    the place of each in its code ``[N]``, its codebook ``[N]``, and the matrix ``[N, K]`` that
    turns bits into codes.
    """
    bits = [code_bits(size) for size in sizes]
    places = [place for count in bits for place in reversed(range(count))]
    shifts = np.array(places, dtype=np.int64)
    owners = np.repeat(np.arange(len(sizes)), bits)
    weights = np.zeros((len(shifts), len(sizes)), dtype=np.int64)
    weights[np.arange(len(shifts)), owners] = 1 << shifts
    return shifts, owners, weights
