"""Shards made on a Ray cluster, for those whom one machine does not serve (extra ``ray``).

Ray Data distributes the numbers of the shards over a pool of actors. Each actor has the model and
calls :func:`~audiocodec.tokenising.shard.make_shard` as a run on one machine does: threads of the
actor decode the audio beside the model, so that no audio passes Ray's object store, and the bytes
are those of a run without Ray. An actor that dies is started again, and its shard is made again.

All machines see the corpus, the output folder and the model under the same paths.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.errors import CodecError
from audiocodec.temporary import sweep
from audiocodec.tokenising.ledger import FOLDER, ShardRecord
from audiocodec.tokenising.ranks import Rank
from audiocodec.tokenising.ray.actors import Attempts, ShardMaker, Task
from audiocodec.tokenising.ray.cluster import Cluster, check_cluster, connected
from audiocodec.tokenising.run import Outcome, make_shards
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.shard import Progress

MAX_BLOCKS = 10_000
"""Ray Data's tasks. A task has several shards if there are more."""
MAX_THREADS = 16
"""Threads of an actor that decode audio beside a GPU."""


def tokenize_on_ray(
    corpus: Corpus,
    settings: Settings,
    cluster: Cluster,
    folder: Path,
    rank: Rank = Rank(),  # noqa: B008 - it cannot change
    retry: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """As :func:`~audiocodec.tokenising.run.tokenize`, on a Ray cluster, and with the same bytes.

    Args:
        settings: of the codec that ``cluster`` names.
        progress: called for each shard.

    Raises:
        CodecError: as :func:`~audiocodec.tokenising.run.tokenize`; Ray is not installed or there is
            no cluster at the address; or a shard's actor died again and again.
    """

    def make(
        indexes: Sequence[int], settings: Settings, folder: Path, progress: Progress | None
    ) -> Iterator[ShardRecord]:
        if not indexes:
            return
        task = Task(corpus, settings, cluster, str(folder), os.getcwd(), retry)
        touched = {folder, folder / FOLDER}
        try:
            for record in _records(task, indexes):
                touched |= {(folder / file.name).parent for file in record.files}
                if progress:
                    seconds = record.num_samples / settings.sample_rate
                    progress(record.utterances + len(record.errors), seconds)
                yield record
        finally:
            for place in touched:  # what actors that were killed left
                sweep(place, again=True)

    check_cluster(cluster)
    return make_shards(make, settings, folder, rank, retry, progress)


def _records(task: Task, indexes: Sequence[int]) -> Iterator[ShardRecord]:
    """The records of shards, in the order in which they are finished."""
    with connected(task.cluster) as ray:
        resources = ray.cluster_resources()
        cores, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        if task.cluster.cuda and not gpus:
            raise CodecError("--device cuda: the Ray cluster has no GPU; use --device cpu")
        actors = min(task.cluster.actors or (gpus if task.cluster.cuda else cores), len(indexes))
        threads = max(1, min(MAX_THREADS, cores // actors)) if task.cluster.cuda else 1
        task = replace(task, actors=actors, threads=threads)
        attempts = ray.remote(num_cpus=0)(Attempts).remote()
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        shards = ray.data.from_items(
            [{"index": index} for index in indexes],
            override_num_blocks=min(len(indexes), MAX_BLOCKS),
        )
        made = shards.map(
            ShardMaker,
            fn_constructor_args=(task, attempts),
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=threads,
            num_gpus=1 if task.cluster.cuda else None,
        )
        for row in made.iter_rows():
            if row["error"]:
                raise CodecError(row["error"])
            yield ShardRecord.from_dict(json.loads(row["record"]))
