"""Short files in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from audiocodec.batch.plan import Job

Result = TypeVar("Result")

MIN_FILLED = 0.8
"""The shortest row of a batch, as a share of the longest."""


@dataclass(frozen=True)
class BatchingPolicy(Generic[Result]):
    """How several jobs are done as one batch.

    Args:
        measure: a job -> the rows that it takes in a batch, and their length; it may raise.
        limit: the most that rows times the greatest length may be.
        work: two or more jobs -> the result or the error of each. It is called on several threads.
    """

    measure: Callable[[Job], tuple[int, float]]
    limit: float
    work: Callable[[Sequence[Job]], Sequence[Result | Exception]]


def group_by_length(sizes: Mapping[int, tuple[int, float]], limit: float) -> list[list[int]]:
    """Keys in groups of similar length, the longest first.

    Args:
        sizes: key -> rows and their length.
        limit: as in :class:`BatchingPolicy`; a key that exceeds it alone is a group of its own.
    """
    groups: list[list[int]] = []
    rows, longest = 0, 0.0
    for key in sorted(sizes, key=lambda key: (-sizes[key][1], key)):
        added, length = sizes[key]
        if not groups or (rows + added) * longest > limit or length < MIN_FILLED * longest:
            groups.append([])
            rows, longest = 0, length
        groups[-1].append(key)
        rows += added
    return groups
