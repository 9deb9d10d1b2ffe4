"""A JSONL manifest: a JSON object a line, such as ``codec prepare`` writes.

Keys: ``path`` (or NeMo's ``audio_filepath``), relative to the manifest's folder; and optionally
``id``, ``member`` (of a tar), ``span`` (the member's first byte in the tar, and its size),
``offset`` and ``duration`` in seconds, ``speaker`` (or ``speaker_id``), ``text`` and ``split``.
Others are ignored.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

from audiocodec.corpus.sources.lines import LinesCorpus
from audiocodec.corpus.utterance import Utterance, check_id, id_of_path


class ManifestCorpus(LinesCorpus):
    """The utterances of a JSONL manifest."""

    def parse(self, line: bytes) -> Utterance:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"is not JSON in UTF-8 ({error}); write a JSON object a line"
            ) from None
        if not isinstance(entry, dict):
            raise ValueError("is not a JSON object; write one a line")
        path = text_of(entry, "path", "audio_filepath")
        if not path:
            raise ValueError("has no `path`; name the audio file")
        if "\0" in path:
            raise ValueError("its `path` has a NUL character")
        member = text_of(entry, "member")
        offset = _seconds(entry, "offset") or 0.0
        duration = _seconds(entry, "duration")
        if duration == 0:
            raise ValueError("its `duration` is 0; leave it out to read to the end")
        id = text_of(entry, "id")
        if not id:
            id = id_of_path(f"{os.path.splitext(path)[0]}/{member}" if member else path)
            id += f"-{offset:.3f}" if offset else ""
        try:
            check_id(id)
        except ValueError as error:
            raise ValueError(f"its `id` {error}") from None
        return Utterance(
            id,
            os.path.join(self.folder, path),
            member,
            offset,
            duration,
            text_of(entry, "speaker", "speaker_id"),
            text_of(entry, "text"),
            text_of(entry, "split"),
            _span(entry),
        )


def text_of(entry: dict[str, Any], *keys: str) -> str:
    """The text of the first key that is there; a number, such as a speaker's, is written out.

    Raises:
        ValueError: it is neither.
    """
    for key in keys:
        value = entry.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            raise ValueError(f"its `{key}` is not text: {json.dumps(value)[:40]}")
    return ""


def _span(entry: dict[str, Any]) -> tuple[int, int] | None:
    value = entry.get("span")
    if value is None:
        return None
    is_pair = isinstance(value, list) and len(value) == 2
    if not is_pair or not all(type(number) is int and number >= 0 for number in value):
        raise ValueError(f"its `span` is not two numbers of bytes: {json.dumps(value)[:40]}")
    first, size = value
    return first, size


def _seconds(entry: dict[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"its `{key}` is not a number of seconds: {json.dumps(value)[:40]}")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"its `{key}` is not a number of seconds from 0: {value}")
    return float(value)
