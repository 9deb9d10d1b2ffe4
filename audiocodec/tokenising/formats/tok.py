"""A ``.tok`` file for each utterance: mono at the model's rate, with fixed coding.

``codec transcode`` makes context coding of them, ``codec decode`` audio.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from audiocodec.tokenising.formats.files import FilePerUtterance
from audiocodec.tokenising.settings import Settings
from audiocodec.tokenising.tokenised import Codes, Tokenised
from audiocodec.tokens import TokenFile, TokenHeader, TokenWriter


class Tok(FilePerUtterance):
    """``speaker/utterance.tok`` and so on."""

    suffix = ".tok"

    def to_bytes(self, row: Tokenised, settings: Settings) -> bytes:
        header = TokenHeader(
            model=settings.model,
            fingerprint=settings.fingerprint,
            sample_rate=settings.sample_rate,
            hop_length=settings.hop_length,
            original_sample_rate=settings.sample_rate,
            channels=1,
            codebook_sizes=settings.codebook_sizes,
        )
        stream = io.BytesIO()
        with TokenWriter(stream, header) as writer:
            writer.write(row.codes)
            writer.finish(row.num_samples)
        return stream.getvalue()

    def load(self, path: Path) -> Codes:
        with TokenFile(path) as tokens:
            narrow = np.uint16 if max(tokens.header.codebook_sizes) <= 2**16 else np.uint32
            return tokens.read()[0].astype(narrow)
