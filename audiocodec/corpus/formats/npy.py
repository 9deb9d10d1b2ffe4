"""A ``.npy`` file of codes ``[K, F]`` for each utterance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiocodec.corpus.formats.describing import npy_bytes
from audiocodec.corpus.formats.files import FilePerUtterance
from audiocodec.corpus.settings import Settings
from audiocodec.corpus.tokenised import Codes, Tokenised


class Npy(FilePerUtterance):
    """``speaker/utterance.npy`` and so on."""

    suffix = ".npy"

    def to_bytes(self, row: Tokenised, settings: Settings) -> bytes:
        return npy_bytes(row.codes)

    def load(self, path: Path) -> Codes:
        return np.load(path, allow_pickle=False)
