"""``prepare``: a corpus is read once, in parallel, and described in a manifest."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

from audiocodec.corpus.opening import open_corpus
from audiocodec.corpus.preparing.layouts import with_known
from audiocodec.corpus.preparing.scan import Scan, scan
from audiocodec.corpus.preparing.totals import Totals
from audiocodec.corpus.utterance import Utterance
from audiocodec.errors import CodecError
from audiocodec.paths import replacing
from audiocodec.progress import progress_bar
from audiocodec.threads import Stop, in_order

ESCAPE = "backslashreplace"
"""Halves of surrogate pairs, which JSON can hold and UTF-8 cannot, become JSON's escapes."""
AHEAD = 16
"""Utterances for each thread that may be read before one of them, a long one, is."""


def prepare(source: Path, target: Path, jobs: int = 1) -> Totals:
    """Write the manifest ``target`` of the corpus ``source``, and return its statistics.

    The manifest has a line for each utterance that could be read, in the order of the corpus, and
    appears complete or not at all. The same corpus gives the same bytes, whatever ``jobs`` is.

    Args:
        jobs: how many utterances are read at a time, each on a thread.

    Raises:
        CodecError: no corpus, no utterance of it can be read, or the manifest cannot be written.
    """
    corpus = open_corpus(source)
    totals = Totals()
    folder = os.path.dirname(os.path.abspath(target))

    def read(utterance: Utterance) -> tuple[Utterance, Scan | str]:
        try:
            return with_known(utterance), scan(utterance)
        except CodecError as error:
            return utterance, str(error)

    with (
        replacing(target) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n", errors=ESCAPE) as file,
        progress_bar(len(corpus), "utterances") as bar,
        closing(
            in_order(read, corpus.utterances(0, len(corpus)), jobs, Stop(), AHEAD * jobs)
        ) as results,
    ):
        for utterance, found in results:
            if isinstance(found, str):
                totals.add_unreadable(utterance, found)
            else:
                totals.add(utterance, found)
                file.write(json.dumps(_entry(utterance, found, folder), ensure_ascii=False) + "\n")
            bar.update(1)
        if not totals.utterances:
            raise CodecError(f"{source}: nothing in it can be read; {totals.unreadable[0]}")
        file.flush()
        os.fsync(file.fileno())
    return totals


def _entry(utterance: Utterance, found: Scan, folder: str) -> dict[str, Any]:
    """A line of the manifest, which lies in ``folder``."""
    path = os.path.abspath(utterance.path)
    below = os.path.commonpath([path, folder]) == folder
    entry: dict[str, Any] = {
        "id": utterance.id,
        "path": os.path.relpath(path, folder).replace(os.sep, "/") if below else path,
        "member": utterance.member,
        "span": utterance.span,
        "offset": utterance.offset,
        "duration": found.duration,
        "sample_rate": found.sample_rate,
        "channels": found.channels,
        "speaker": utterance.speaker,
        "text": utterance.text,
        "split": utterance.split,
        "silence": round(found.silence, 4),
        "clipped": found.clipped,
        "sha256": found.sha256,
    }
    optional = ("member", "span", "offset", "speaker", "text", "split")
    return {key: value for key, value in entry.items() if value or key not in optional}
