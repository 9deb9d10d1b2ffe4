"""Which shards a process makes: all, or the part of one rank of several."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from audiocodec.errors import CodecError

VARIABLES = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),  # torchrun
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", ""),  # srun, which binds ranks to cores
)


@dataclass(frozen=True)
class Rank:
    """Rank ``index`` of ``count``, counted from 0.

    Attributes:
        source: where this was said, for messages; empty if nowhere.
        local: the rank among those of this machine, which chooses its GPU.
        local_count: ranks that share this machine's cores.
    """

    index: int = 0
    count: int = 1
    source: str = ""
    local: int = 0
    local_count: int = 1

    def shards(self, num_shards: int) -> range:
        """Its shards: neighbours, and as many as the other ranks have, or one more."""
        return range(
            self.index * num_shards // self.count, (self.index + 1) * num_shards // self.count
        )


def find_rank(shard: str | None = None, environment: Mapping[str, str] = os.environ) -> Rank:
    """The rank that ``shard`` says, such as ``0/4``, or else the variables of torchrun or SLURM.

    Raises:
        CodecError: no such rank.
    """
    for rank, size, local, locals in VARIABLES:
        if rank in environment and size in environment:
            found = f"{environment[rank]}/{environment[size]}"
            numbers = (_number(environment.get(local, "0")), _number(environment.get(locals, "1")))
            return _parse(shard or found, "--shard" if shard else rank, *numbers)
    return _parse(shard, "--shard") if shard else Rank()


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _parse(text: str, source: str, local: int = 0, local_count: int = 1) -> Rank:
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not match or not int(match[1]) < int(match[2]):
        raise CodecError(
            f"{source}: `{text}` is no part of a whole; the parts of four are 0/4, 1/4, 2/4 and 3/4"
        )
    return Rank(int(match[1]), int(match[2]), source, local, max(1, local_count))
