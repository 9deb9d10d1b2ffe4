"""The actors: processes of a Ray cluster that make shards."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from audiocodec.checkpoint import load_codec
from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.errors import CodecError
from audiocodec.extras import import_extra
from audiocodec.tokenising.ledger import Ledger
from audiocodec.tokenising.ray.cluster import Cluster
from audiocodec.tokenising.run import finished
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.shard import make_shard

MAX_ATTEMPTS = 4
"""So many times a shard is begun if the actor that makes it dies each time."""


@dataclass(frozen=True)
class Task:
    """What an actor has to know."""

    corpus: Corpus
    settings: Settings
    cluster: Cluster
    folder: str
    current_folder: str
    retry: bool
    actors: int = 1
    threads: int = 1


class Attempts:
    """An actor: counts how often something was begun and not done. Ray itself would begin it again
    without end."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def begin(self, name: str) -> int:
        self._counts[name] += 1
        return self._counts[name]

    def done(self, name: str) -> None:
        del self._counts[name]


class ShardMaker:
    """An actor: makes the shards whose numbers it gets."""

    def __init__(self, task: Task, attempts: Any) -> None:
        self._attempts = attempts
        with self._attempt("an actor", MAX_ATTEMPTS + task.actors):
            self._load(task)

    @contextmanager
    def _attempt(self, name: str, most: int) -> Iterator[None]:
        """What may be begun ``most`` times before it is done for the first time."""
        ray = import_extra("ray", "ray", "--runner ray")
        if ray.get(self._attempts.begin.remote(name)) > most:
            raise CodecError(
                f"--runner ray: {name} died {most} times with its process, for want of memory "
                "perhaps; the other shards are kept, and --runner local shows what is wrong"
            )
        yield
        ray.get(self._attempts.done.remote(name))

    def _load(self, task: Task) -> None:
        cluster = task.cluster
        try:
            os.chdir(task.current_folder)  # paths may be relative to it
        except OSError as error:
            raise CodecError(
                f"{task.current_folder}: is not there on {os.uname().nodename} "
                f"({error.strerror}); all machines of the cluster must see the same files"
            ) from None
        torch.set_num_threads(1)  # float32 codes may depend on their number
        if cluster.cuda:
            torch.backends.cudnn.allow_tf32 = False
        dtype = torch.float64 if cluster.exact else torch.float32
        device = "cuda" if cluster.cuda else cluster.device
        self._codec = load_codec(cluster.model, device, dtype, cluster.engine)
        if self._codec.fingerprint != task.settings.fingerprint:
            raise CodecError(f"model {cluster.model}: is another on {os.uname().nodename}")
        self._task = task

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        task, index = self._task, int(row["index"])
        folder = Path(task.folder)
        try:
            record = finished(Ledger(folder), index, task.retry)
            if record is None:
                with self._attempt(f"shard {index}", MAX_ATTEMPTS):
                    record = make_shard(
                        task.corpus, index, task.settings, self._codec, folder, task.threads
                    )
        except CodecError as error:
            return {"record": "", "error": str(error)}
        return {"record": json.dumps(asdict(record)), "error": ""}
