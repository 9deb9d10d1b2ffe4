"""``.npy``: an array ``[C, K, F]``, and beside it ``NAME.npy.json`` with the facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.codefiles.facts import Facts
from audiocodec.paths import replacing
from audiocodec.tokens.packing import Codes

FACTS = ".npy.json"
"""The end of the name of the facts beside an ``.npy`` file."""


class Npy:
    """NumPy's format has no place for facts. The array may be replaced, as by ``np.save``."""

    def write(self, path: Path, target: Path, codes: Codes, facts: Facts) -> None:
        with path.open("wb") as file:
            np.save(file, codes.astype(facts.dtype), allow_pickle=False)
        with replacing(facts_path(target)) as beside:
            beside.write_text(json.dumps(facts.model_dump(mode="json"), indent=2) + "\n")

    def read(self, path: Path) -> tuple[Any, Mapping[str, Any] | None]:
        codes = np.load(path, allow_pickle=False)
        beside = facts_path(path)
        return codes, json.loads(beside.read_text()) if beside.is_file() else None


def facts_path(path: Path) -> Path:
    """The file of facts beside an ``.npy`` file."""
    return path.with_name(path.stem + FACTS)
