"""Some of many things, drawn for each step from a few fixed sets.

A step that computes some of the losses or discriminators is cheaper. On a GPU each set of them is
a CUDA graph of its own, so there are few sets. Each thing is in equally many of them: the mean over
a drawn set is, on average over the sets, the mean over all things.
"""

import torch

ROUND_SEED_STRIDE = 1_000_033
"""Difference between the seeds of two consecutive rounds."""


def fixed_sets(count: int, size: int) -> list[tuple[int, ...]]:
    """At most ``count`` sets of ``size`` of the numbers below ``count``, spread evenly in each."""
    offsets = [place * count // size for place in range(size)]
    return sorted({tuple(sorted((n + x) % count for x in offsets)) for n in range(count)})


def drawn_set(count: int, size: int, seed: int, step: int) -> tuple[int, ...]:
    """The set of one step. In each round of steps all sets come once, in a random order."""
    sets = fixed_sets(count, size)
    number, turn = divmod(step, len(sets))
    generator = torch.Generator().manual_seed(seed + ROUND_SEED_STRIDE * number)
    return sets[int(torch.randperm(len(sets), generator=generator)[turn])]
