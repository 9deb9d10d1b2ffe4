"""Frame rates and bitrates: how they follow from sizes, for models and files alike."""

from __future__ import annotations

from collections.abc import Sequence


def frame_rate(sample_rate: int, hop_length: int) -> float:
    """Frames per second."""
    return sample_rate / hop_length


def code_bits(size: int) -> int:
    """Bits of one code of a codebook of ``size`` entries: ceil(log2(size))."""
    return (size - 1).bit_length()


def frame_bits(sizes: Sequence[int], channels: int = 1) -> int:
    """Bits of one frame: a code of each codebook, in each channel."""
    return channels * sum(map(code_bits, sizes))


def bitrate(sample_rate: int, hop_length: int, sizes: Sequence[int], channels: int = 1) -> float:
    """Bits per second of codes of codebooks of these ``sizes``, all channels together."""
    return frame_rate(sample_rate, hop_length) * frame_bits(sizes, channels)


def mean_bitrate(num_bytes: float, seconds: float) -> float | None:
    """Bits per second of ``num_bytes`` that hold ``seconds`` of audio; None for 0 seconds."""
    return 8 * num_bytes / seconds if seconds else None
