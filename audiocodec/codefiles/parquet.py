"""``.parquet``: one row, with a column for each fact and ``codes`` as lists ``[C][K][F]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.codefiles.facts import Facts
from audiocodec.errors import CodecError
from audiocodec.extras import import_extra
from audiocodec.tokens.packing import Codes


class Parquet:
    """For pandas, polars, DuckDB, Spark and ``datasets``; needs pyarrow (extra ``parquet``)."""

    def write(self, path: Path, target: Path, codes: Codes, facts: Facts) -> None:
        arrow = import_extra("pyarrow", "parquet", "Parquet")
        parquet = import_extra("pyarrow.parquet", "parquet", "Parquet")
        number = arrow.from_numpy_dtype(facts.dtype)
        columns = {name: arrow.array([value]) for name, value in facts.model_dump().items()}
        kind = arrow.list_(arrow.list_(arrow.list_(number)))
        columns["codes"] = arrow.array([codes.tolist()], kind)
        parquet.write_table(arrow.table(columns), path)

    def read(self, path: Path) -> tuple[Any, Mapping[str, Any] | None]:
        parquet = import_extra("pyarrow.parquet", "parquet", "Parquet")
        # One row needs no threads, and those of `read_table` may abort a process that ends.
        with parquet.ParquetFile(path) as file:
            rows = file.read(use_threads=False).to_pylist()
        if len(rows) != 1:
            raise CodecError(f"has {len(rows)} rows; a file of codes has one")
        codes = np.array(rows[0].pop("codes"))
        return codes if codes.size else codes.astype(np.int64), rows[0] or None
