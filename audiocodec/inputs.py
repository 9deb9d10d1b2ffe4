"""Audio and codes in the forms that callers have, as the tensors that a codec takes.

Letters as in :mod:`audiocodec.codec`; ``n`` is a number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiocodec.audio import Resampler
from audiocodec.errors import CodecError

LEAST_RATE = 1000
"""Hz; what is less is a mistake, such as a number of kHz."""


def audio_tensor(audio: Any) -> Tensor:
    """A float tensor or NumPy array ``[T]``, ``[1, T]`` or ``[B, 1, T]`` -> tensor ``[B, 1, T]``.

    Two dimensions of several rows are refused: they could be a batch, channels, or
    ``[samples, channels]`` as soundfile returns it.

    Raises:
        CodecError: not a tensor or an array, of another shape, or not of a floating-point type.
    """
    audio = _tensor(audio, "audio must be a tensor or a NumPy array [batch, 1, samples]")
    if not audio.is_floating_point():
        raise CodecError(
            f"audio must be float in [-1, 1], not {audio.dtype}; divide int16 by 32768"
        )
    shape = list(audio.shape)
    if audio.dim() == 1:
        return audio[None, None]
    if audio.dim() == 2 and len(audio) == 1:
        return audio[None]
    if audio.dim() == 3 and audio.shape[1] == 1:
        return audio
    if audio.dim() == 2:
        remedy = "audio[:, None] makes each row an item; of [samples, channels] take audio.T first"
    elif audio.dim() == 3:
        remedy = "audio.reshape(-1, 1, audio.shape[-1]) makes each channel an item"
    else:
        remedy = "audio.reshape(-1, 1, audio.shape[-1]) makes each row an item"
    raise CodecError(f"audio must be [batch, 1, samples], not {shape}; {remedy}")


def code_tensor(codes: Any, sizes: Sequence[int]) -> Tensor:
    """A tensor or NumPy array of any integer type, ``[K, F]`` or ``[B, K, F]`` -> ``[B, K, F]``.

    Args:
        sizes: entries of each codebook that there is.

    Returns:
        int64, where int32 came int32.

    Raises:
        CodecError: not a tensor or an array, of another shape, not integers, or codes outside
            their codebooks.
    """
    most = len(sizes)
    codes = _tensor(codes, "codes must be a tensor or a NumPy array of int64 or int32")
    if codes.is_floating_point() or codes.dtype.is_complex or codes.dtype == torch.bool:
        raise CodecError(
            f"codes must be of an integer type such as int64 or int32, not {codes.dtype}"
        )
    if codes.dtype != torch.int32:
        codes = codes.long()
    if codes.dim() == 2:
        codes = codes[None]
    if codes.dim() != 3 or not 1 <= codes.shape[1] <= most:
        remedy = "; of one codebook give codes[None]" if codes.dim() == 1 else ""
        raise CodecError(
            f"codes must be [batch, 1 to {most} codebooks, frames], not {list(codes.shape)}{remedy}"
        )
    if codes.numel() == 0:
        return codes
    used = sizes[: codes.shape[1]]
    least, greatest = (int(end) for end in codes.aminmax())
    if least < 0 or (
        greatest >= min(used) and bool((codes >= codes.new_tensor(used).view(1, -1, 1)).any())
    ):
        raise CodecError(f"codes outside 0 ... {max(sizes) - 1}: not of this model")
    return codes


def resampled(audio: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Audio ``[n, 1, T]`` from one sample rate to another, as files are: float32 on the CPU.

    ``T`` samples become ``ceil(T * target_rate / source_rate)``.

    Raises:
        CodecError: a rate that is not a whole number from :data:`LEAST_RATE` up, or one that cannot
            be resampled from.
    """
    try:
        rate = int(source_rate)
    except (TypeError, ValueError):
        rate = 0
    if rate < LEAST_RATE or rate != source_rate:
        raise CodecError(
            f"sample_rate must be a whole number of Hz, {LEAST_RATE} or more, not {source_rate!r}"
        )
    if rate == target_rate or not len(audio):
        return audio
    try:
        resampler = Resampler(rate, target_rate, len(audio))
        samples = audio[:, 0].detach().to("cpu", torch.float32).numpy()
        pieces = [resampler.push(samples), resampler.flush()]
    except (ValueError, RuntimeError) as error:
        raise CodecError(
            f"audio at {source_rate} Hz cannot be resampled to {target_rate} Hz ({error})"
        ) from None
    return torch.from_numpy(np.concatenate(pieces, axis=1)).unsqueeze(1)


def _tensor(value: Any, rule: str) -> Tensor:
    """A tensor as it is, an array as a tensor of the nearest type that PyTorch has."""
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray):
        raise CodecError(f"{rule}, not {type(value).__name__}")
    kind = value.dtype
    if kind.kind not in "biufc":
        raise CodecError(f"{rule}, not an array of {kind}")
    if kind.kind == "f" and kind.itemsize > 8:
        kind = np.dtype(np.float64)
    elif kind.kind == "c":
        kind = np.dtype(np.complex64)  # to be refused by its name
    # In this machine's byte order, without negative strides, and writable, as PyTorch wants it.
    array = np.require(value, kind.newbyteorder("="), ["C", "W", "E"])
    return torch.from_numpy(array)


def check_beam(beam: int) -> None:
    """Raise :class:`CodecError` for a beam width below 1."""
    if beam < 1:
        raise CodecError(f"beam: 1 or more, not {beam}")
