"""Shards as Parquet files, for ``datasets``, pandas, polars, DuckDB and Spark.

Columns: ``id``, ``codes``, ``num_samples``, ``sample_rate``, ``speaker``, ``text``, ``split`` and
``fingerprint``. The metadata of the file, under the key ``audiocodec``, are the settings as JSON.

``codes`` is a list of ``K`` lists of ``F`` numbers, so that the shape is in the data: a row of
``datasets`` in the format ``numpy`` or ``torch`` is an array ``[K, F]``. A flat list with the shape
in other columns takes as many bytes. Codes of 10 bits take 10 bits each, because a dictionary is
built for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from audiocodec.errors import CodecError
from audiocodec.extras import import_extra
from audiocodec.tokenising.formats.describing import TEXTS
from audiocodec.tokenising.formats.shardfile import ShardFile
from audiocodec.tokenising.output import HashingFile
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Codes, Tokenised

if TYPE_CHECKING:
    import pyarrow

GROUP_CODES = 2**22
"""A row group ends at this many codes: two hours of twelve codebooks, 8 MB in memory."""
METADATA = b"audiocodec"
CARD = """---
configs:
- config_name: default
  data_files: shard-*.parquet
---

Speech tokens, written by `codec tokenize`. Each row is an utterance; `codes` are K codebooks of F
frames. `codec info` describes this folder, `codec detokenize` turns it into audio, and
`codec verify` compares its shards with the checksums in `ledger/`.
"""
"""The card of a data set, so that ``datasets.load_dataset(FOLDER)`` takes the shards alone."""


class Parquet(ShardFile):
    """``shard-00000.parquet`` and so on."""

    extra, package, suffix = "parquet", "pyarrow", ".parquet"
    companions: ClassVar[dict[str, str]] = {"README.md": CARD}

    def open_writer(self, file: HashingFile, settings: Settings) -> _Writer:
        return _Writer(file, settings)

    def read(self, folder: Path, index: int, settings: Settings) -> Iterator[Tokenised]:
        arrow = import_extra("pyarrow", self.extra, "reading Parquet")
        parquet = import_extra("pyarrow.parquet", self.extra, "reading Parquet")
        path = folder / self.name(index, settings)
        try:
            with parquet.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    columns = [table[name] for name in ("id", "num_samples", *TEXTS)]
                    for row, codes in enumerate(table["codes"]):
                        id, num_samples, *texts = (column[row].as_py() for column in columns)
                        array = _array(codes.values, settings)
                        yield Tokenised(id, array, num_samples, *texts)
        except (OSError, arrow.ArrowException, KeyError, ValueError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise CodecError(f"{path}: cannot be read ({reason}); codec verify checks it") from None


class _Writer:
    """Writes a row group whenever enough codes have come together."""

    def __init__(self, file: HashingFile, settings: Settings) -> None:
        self._arrow = import_extra("pyarrow", "parquet", "writing Parquet")
        parquet = import_extra("pyarrow.parquet", "parquet", "writing Parquet")
        self._settings = settings
        self._rows: list[Tokenised] = []
        self._waiting = 0
        self._schema = self._arrow.schema(
            {
                "id": self._arrow.string(),
                "codes": self._codes_type(),
                "num_samples": self._arrow.int64(),
                "sample_rate": self._arrow.int32(),
                **dict.fromkeys(TEXTS, self._arrow.string()),
                "fingerprint": self._arrow.string(),
            },
            metadata={METADATA: json.dumps(settings.as_dict())},
        )
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")

    def _codes_type(self) -> Any:
        numbers = self._arrow.from_numpy_dtype(self._settings.dtype)
        return self._arrow.list_(self._arrow.list_(numbers))

    def add(self, row: Tokenised) -> None:
        self._rows.append(row)
        self._waiting += row.codes.size
        if self._waiting >= GROUP_CODES:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        rows, settings = self._rows, self._settings
        if not rows:
            return
        count = len(rows)
        columns = {
            "id": [row.id for row in rows],
            "codes": self._codes([row.codes for row in rows]),
            "num_samples": [row.num_samples for row in rows],
            "sample_rate": [settings.sample_rate] * count,
            **{name: [getattr(row, name) for row in rows] for name in TEXTS},
            "fingerprint": [settings.fingerprint] * count,
        }
        table = self._arrow.table(columns, schema=self._schema)
        self._writer.write_table(table, row_group_size=count)
        self._rows, self._waiting = [], 0

    def _codes(self, codes: list[Codes]) -> pyarrow.Array:
        """Codes ``[K, F]`` of each utterance as one array of lists of lists."""
        frames = [len(line) for each in codes for line in each]
        inner = np.cumsum([0, *frames], dtype=np.int32)
        outer = np.cumsum([0, *(len(each) for each in codes)], dtype=np.int32)
        flat = self._arrow.array(np.concatenate([each.ravel() for each in codes]))
        lists = self._arrow.ListArray.from_arrays(inner, flat)
        return self._arrow.ListArray.from_arrays(outer, lists)


def _array(lists: Any, settings: Settings) -> Codes:
    """Codes ``[K, F]`` of a list of ``K`` lists."""
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(settings.dtype).reshape(settings.num_codebooks, -1)
