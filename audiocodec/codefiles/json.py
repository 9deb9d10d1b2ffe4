"""``.json``: one object with the facts, and ``codes`` as lists of lists ``[C][K][F]``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.codefiles.facts import Facts
from audiocodec.tokens.packing import Codes


class Json:
    """For programs without NumPy; some five bytes a code."""

    def write(self, path: Path, target: Path, codes: Codes, facts: Facts) -> None:
        values = facts.model_dump(mode="json") | {"codes": codes.tolist()}
        path.write_text(json.dumps(values) + "\n", encoding="utf-8")

    def read(self, path: Path) -> tuple[Any, Mapping[str, Any] | None]:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it is no JSON object")
        codes = values.pop("codes")
        # Codes of no frames are lists of empty lists, which NumPy takes for floats.
        array = np.array(codes)
        return array if array.size else array.astype(np.int64), values or None
