"""``.npz``: ``codes [C, K, F]``, and each fact as an array of its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.codefiles.facts import Facts
from audiocodec.tokens.packing import Codes


class Npz:
    """``np.load(path)["codes"]``; nothing in it is a pickle."""

    def write(self, path: Path, target: Path, codes: Codes, facts: Facts) -> None:
        values = facts.model_dump()
        arrays: dict[str, Any] = {name: np.array(value) for name, value in values.items()}
        with path.open("wb") as file:
            np.savez_compressed(file, codes=codes.astype(facts.dtype), **arrays)

    def read(self, path: Path) -> tuple[Any, Mapping[str, Any] | None]:
        with np.load(path, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it is a .npy file")
            facts = {name: arrays[name].tolist() for name in arrays.files if name != "codes"}
            return arrays["codes"], facts or None
