"""What a token file says of its codes, for files of other formats."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import numpy as np

from audiocodec.config import Config
from audiocodec.errors import CodecError
from audiocodec.tokens import TokenHeader
from audiocodec.tokens.header import FIXED
from audiocodec.tokens.packing import Codes


class Facts(Config):
    """The fields of a :class:`~audiocodec.TokenHeader`, and the length.

    Attributes:
        num_samples: of each channel, at ``original_sample_rate``.
        coding, context: how the token file writes its codes; the codes themselves are the same.
    """

    model: str
    fingerprint: str
    sample_rate: int
    hop_length: int
    original_sample_rate: int
    codebook_sizes: tuple[int, ...]
    num_samples: int
    block_frames: int = 0
    coding: str = FIXED
    context: str = ""

    @classmethod
    def of(cls, header: TokenHeader, num_samples: int) -> Self:
        """The facts of a token file."""
        values = dataclasses.asdict(header)
        del values["channels"]  # the codes' shape has them
        return cls.from_mapping(values | {"num_samples": num_samples})

    def header(self, codes: Codes) -> TokenHeader:
        """The header of a token file with ``codes [C, K, F]``, which may be the first codebooks.

        Raises:
            CodecError: more codebooks than the facts name, or a value that no token file holds.
        """
        channels, count = codes.shape[:2]
        if count > len(self.codebook_sizes):
            raise CodecError(
                f"has codes of {count} codebooks, and facts of {len(self.codebook_sizes)}"
            )
        values: dict[str, Any] = {
            name: value for name, value in self.model_dump().items() if name != "num_samples"
        }
        values["codebook_sizes"] = self.codebook_sizes[:count]
        return TokenHeader(**values, channels=channels)

    def length(self, codes: Codes) -> int:
        """Samples of ``codes [C, K, F]``: ``num_samples``, where that has ``F`` frames; of codes
        that were cut or made longer, all that ``F`` frames hold."""
        header, frames = self.header(codes), codes.shape[2]
        if header.num_frames(self.num_samples) == frames:
            return self.num_samples
        return header.num_samples(frames)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The narrowest of uint16 and uint32 that holds all codes."""
        return np.dtype(np.uint16 if max(self.codebook_sizes) <= 2**16 else np.uint32)
