"""What token files hold together: length, bytes, and how well the codebooks are used.

Counting needs NumPy only, and memory for the counts, whatever the number of files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import CodecError
from audiocodec.tokens.file import TokenFile

FRAMES_AT_A_TIME = 4096
MOST_ENTRIES = 2**22
"""Of all codebooks of a file together; above it nothing is counted, to bound the memory."""

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
    """Share of a codebook's entries that occur, 0 to 1, from how often each did: ``[size]``."""
    return float(np.mean(np.asarray(counts) > 0))


def entropy(counts: NDArray[np.integer]) -> float:
    """Entropy of ``counts [size]`` in bits: what a code tells on average; 0 without any count."""
    total = int(np.sum(counts))
    if total == 0:
        return 0.0
    shares = np.asarray(counts, np.float64)[np.asarray(counts) > 0] / total
    return float(-np.sum(shares * np.log2(shares))) + 0.0  # never -0.0


def perplexity(counts: NDArray[np.integer]) -> float:
    """Entries in even use: 2 to the power of the entropy of ``counts [size]``; 0 of no counts."""
    return 2.0 ** entropy(counts) if np.any(counts) else 0.0


@dataclass
class TokenStats:
    """Token files of one model, added one by one.

    ``seconds`` counts each file once, whatever its channels. ``num_codebooks`` and ``channels`` are
    the least and the most of a file. ``counts`` is None once a file has more entries than
    :data:`MOST_ENTRIES`.
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
        """Without any file yet; for files of the same model as ``tokens``."""
        header = tokens.header
        return cls(header.model, header.fingerprint, header.sample_rate, header.hop_length)

    def add(self, tokens: TokenFile, progress: Callable[[float], object] | None = None) -> None:
        """Read and check every block of a file and count its codes.

        Args:
            progress: called with the seconds of audio that were read since the last call.

        Raises:
            CodecError: a damaged block, or other codebooks than those of the files before it.
                Nothing of the file is counted then.
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
        """``counts`` and those of one more file; fewer codebooks are the first of all."""
        assert self.counts is not None
        if any(len(a) != len(b) for a, b in zip(self.counts, found, strict=False)):
            raise CodecError(
                f"{tokens.path}: its codebooks have other sizes than those of other files of model "
                f"{self.model} ({self.fingerprint}); get the file again"
            )
        most = max(len(self.counts), len(found))
        longer = self.counts if len(self.counts) == most else found
        zero = [np.zeros_like(counts) for counts in longer]
        mine, new = (list(part) + zero[len(part) :] for part in (self.counts, found))
        return [a + b for a, b in zip(mine, new, strict=True)]

    @property
    def bitrate(self) -> float | None:
        """Bits that codes take per second of audio, all channels together; None of 0 s."""
        return 8 * self.payload_bytes / self.seconds if self.seconds else None

    @property
    def file_bitrate(self) -> float | None:
        """Bits that files take per second of audio, all channels together; None of 0 s."""
        return 8 * self.file_bytes / self.seconds if self.seconds else None

    def codebooks(self) -> list[dict[str, Any]] | None:
        """Size, usage, perplexity and entropy of each codebook; None where none were counted."""
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
