"""A ``.npy`` file of codes ``[K, F]`` for each utterance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiocodec.tokenising.formats.describing import npy_bytes
from audiocodec.tokenising.formats.files import FilePerUtterance
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Codes, Tokenised


class Npy(FilePerUtterance):
    """``speaker/utterance.npy`` and so on."""

    suffix = ".npy"

    def to_bytes(self, row: Tokenised, settings: Settings) -> bytes:
        return npy_bytes(row.codes)

    def load(self, path: Path) -> Codes:
        return np.load(path, allow_pickle=False)
