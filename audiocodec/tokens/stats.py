"""Statistics of token files: length, bytes, bitrate, and use of the codebooks.

Memory is needed for the counts alone, whatever the number of files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import CodecError
from audiocodec.tokens.rates import frame_rate, mean_bitrate
from audiocodec.tokens.reader import TokenFile

FRAMES_AT_A_TIME = 4096
MOST_ENTRIES = 2**22
"""Of all codebooks of a file together. In larger files codes are not counted, to bound memory."""

Counts = list[NDArray[np.int64]]
"""For each codebook, how often each entry occurs: ``[size]``."""


def count_codes(codes: NDArray[np.integer], sizes: tuple[int, ...]) -> Counts:
    """How often each entry occurs in ``codes [..., K, F]``: an int64 ``[size]`` for each codebook.

    Codes outside their codebook are not counted.
    """
    return [
        np.bincount(codes[..., stage, :].ravel(), minlength=size)[:size].astype(np.int64)
        for stage, size in enumerate(sizes[: codes.shape[-2]])
    ]


def usage(counts: NDArray[np.integer]) -> float:
    """Share of a codebook's entries that occur, 0 to 1, from ``counts [size]`` of each entry."""
    return float(np.mean(np.asarray(counts) > 0))


def entropy(counts: NDArray[np.integer]) -> float:
    """Entropy in bits per code of ``counts [size]`` of each entry; 0 if all are 0."""
    total = int(np.sum(counts))
    if total == 0:
        return 0.0
    shares = np.asarray(counts, np.float64)[np.asarray(counts) > 0] / total
    return float(-np.sum(shares * np.log2(shares))) + 0.0  # never -0.0


def perplexity(counts: NDArray[np.integer]) -> float:
    """2 to the power of the entropy of ``counts [size]``; 0 if all are 0."""
    return 2.0 ** entropy(counts) if np.any(counts) else 0.0


@dataclass
class TokenStats:
    """Sums over token files of one model, which are added one by one.

    Attributes:
        seconds: of audio; each file counts once, whatever its channels.
        payload_bytes: bytes of the codes alone.
        file_bytes: bytes of the files.
        channels, num_codebooks: least and most in a file.
        counts: how often each entry of each codebook occurs; None after a file with more entries
            than :data:`MOST_ENTRIES`.
    """

    model: str
    fingerprint: str
    sample_rate: int
    hop_length: int
    files: int = 0
    truncated: int = 0
    seconds: float = 0.0
    num_frames: int = 0
    payload_bytes: float = 0.0
    file_bytes: int = 0
    channels: tuple[int, int] = (0, 0)
    num_codebooks: tuple[int, int] = (0, 0)
    counts: Counts | None = field(default_factory=list)

    @classmethod
    def like(cls, tokens: TokenFile) -> TokenStats:
        """Sums over no file yet, for the model of ``tokens``."""
        header = tokens.header
        return cls(header.model, header.fingerprint, header.sample_rate, header.hop_length)

    def add(self, tokens: TokenFile, progress: Callable[[float], object] | None = None) -> None:
        """Read and check every block of a file and count its codes.

        Args:
            progress: called with the seconds of audio that were read since the last call.

        Raises:
            CodecError: a damaged block, or other codebooks than those of the files before. Then
                nothing of the file is counted.
        """
        header = tokens.header
        counted = self.counts is not None and sum(header.codebook_sizes) <= MOST_ENTRIES
        sizes = header.codebook_sizes if counted else ()
        found: Counts = [np.zeros(size, np.int64) for size in sizes]
        for codes in tokens.pieces(frames=FRAMES_AT_A_TIME):
            for total, new in zip(found, count_codes(codes, sizes), strict=True):
                total += new
            if progress:
                progress(codes.shape[2] / header.frame_rate)
        self.counts = self._with(found, tokens) if counted else None
        first = not self.files
        self.files += 1
        self.truncated += tokens.truncated
        self.seconds += tokens.seconds
        self.num_frames += tokens.num_frames
        self.payload_bytes += tokens.payload_bytes
        self.file_bytes += tokens.num_bytes
        self.channels = _range(self.channels, header.channels, first)
        self.num_codebooks = _range(self.num_codebooks, header.num_codebooks, first)

    def _with(self, found: Counts, tokens: TokenFile) -> Counts:
        """``counts`` plus those of one more file. A file may have only the first codebooks."""
        assert self.counts is not None
        if any(len(a) != len(b) for a, b in zip(self.counts, found, strict=False)):
            raise CodecError(
                f"{tokens.path}: its codebooks have other sizes than those of other files of model "
                f"{self.model} ({self.fingerprint}); get the file again"
            )
        most = max(len(self.counts), len(found))
        longer = self.counts if len(self.counts) == most else found
        zero = [np.zeros_like(counts) for counts in longer]
        before, new = (list(part) + zero[len(part) :] for part in (self.counts, found))
        return [a + b for a, b in zip(before, new, strict=True)]

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return frame_rate(self.sample_rate, self.hop_length)

    @property
    def bitrate(self) -> float | None:
        """Mean bits per second of the codes, all channels together; None for 0 s of audio."""
        return mean_bitrate(self.payload_bytes, self.seconds)

    @property
    def file_bitrate(self) -> float | None:
        """Mean bits per second of the files, all channels together; None for 0 s of audio."""
        return mean_bitrate(self.file_bytes, self.seconds)

    def codebooks(self) -> list[dict[str, Any]] | None:
        """Size, usage, perplexity and entropy of each codebook; None if not counted."""
        if self.counts is None:
            return None
        return [
            {
                "size": len(counts),
                "usage": usage(counts),
                "perplexity": perplexity(counts),
                "entropy_bits": entropy(counts),
            }
            for counts in self.counts
        ]


def _range(before: tuple[int, int], value: int, first: bool) -> tuple[int, int]:
    return (value, value) if first else (min(before[0], value), max(before[1], value))
