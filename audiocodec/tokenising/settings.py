"""What the shards of a tokenised corpus depend on: equal settings make equal bytes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.errors import CodecError
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens.rates import bitrate, frame_rate

SHARD_SIZE = 1000
"""Utterances in a shard: three hours and 9 MB of twelve codebooks where they last 12 s."""


@dataclass(frozen=True)
class Settings:
    """The settings of a tokenised corpus, which its ledger holds.

    Attributes:
        format: a name in :data:`~audiocodec.tokenising.formats.registry.FORMATS`.
        shard_size: utterances in a shard, those without codes included.
        corpus: the digest of the corpus.
        utterances: in the corpus.
        model, fingerprint: of the codec.
        sample_rate: of the model, in Hz; ``num_samples`` of an utterance count at this rate.
        hop_length: samples per frame.
        codebook_sizes: entries of each codebook in use.
        arithmetic: ``float64``, or what float32 codes depend on: engine and kind of device.
        beam: beam width of the search.
        batch_seconds: of audio in a padded batch; 0 where each utterance is encoded alone.
        cut_from: the number of codebooks that a beam searched, if more than are in use.
    """

    format: str
    shard_size: int
    corpus: str
    utterances: int
    model: str
    fingerprint: str
    sample_rate: int
    hop_length: int
    codebook_sizes: tuple[int, ...]
    arithmetic: str
    beam: int = 1
    batch_seconds: float = 0.0
    cut_from: int = 0

    @classmethod
    def of(
        cls,
        codec: RuntimeCodec,
        corpus: Corpus,
        format: str = "parquet",
        num_codebooks: int | None = None,
        beam: int = 1,
        batch_seconds: float = 0.0,
        shard_size: int = SHARD_SIZE,
        engine: str = "torch",
    ) -> Settings:
        """The settings of a corpus to be tokenised.

        Args:
            num_codebooks: codebooks to use; ``None`` for all.
            engine: the name of the codec's engine.

        Raises:
            CodecError: more codebooks than the codec has, a codec that was never saved, or a value
                out of range.
        """
        if not codec.fingerprint:
            raise CodecError(f"codec {codec.name}: was never saved; save it and load it")
        if shard_size < 1 or batch_seconds < 0 or beam < 1:
            raise CodecError("shard_size and beam: 1 or more; batch_seconds: 0 or more")
        exact = codec.dtype == torch.float64
        return cls(
            format=format,
            shard_size=shard_size,
            corpus=corpus.digest,
            utterances=len(corpus),
            model=codec.name,
            fingerprint=codec.fingerprint,
            sample_rate=codec.sample_rate,
            hop_length=codec.hop_length,
            codebook_sizes=codec.codebook_sizes[: codec.resolve_num_codebooks(num_codebooks)],
            arithmetic="float64" if exact else f"float32 {engine} {codec.device.type}",
            beam=beam,
            batch_seconds=float(batch_seconds),
        )

    @property
    def num_codebooks(self) -> int:
        return len(self.codebook_sizes)

    @property
    def num_shards(self) -> int:
        return -(-self.utterances // self.shard_size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The narrowest of uint16 and uint32 that holds all codes."""
        return np.dtype(np.uint16 if max(self.codebook_sizes) <= 2**16 else np.uint32)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return frame_rate(self.sample_rate, self.hop_length)

    @property
    def bitrate(self) -> float:
        """Bits per second of the codes."""
        return bitrate(self.sample_rate, self.hop_length, self.codebook_sizes)

    def slice(self, index: int) -> tuple[int, int]:
        """The first utterance of a shard, and the first of the next one."""
        start = index * self.shard_size
        return start, min(start + self.shard_size, self.utterances)

    def shard_name(self, index: int) -> str:
        """The name of a shard, without suffix."""
        return f"shard-{index:05d}"

    def cut(self, num_codebooks: int, format: str) -> Settings:
        """The settings of the same codes with the first codebooks only.

        Raises:
            CodecError: more codebooks than there are.
        """
        if not 1 <= num_codebooks <= self.num_codebooks:
            raise CodecError(
                f"the corpus holds {self.num_codebooks} codebooks; {num_codebooks} asked for"
            )
        # A greedy search chooses a codebook's codes from those before it; a beam looks ahead.
        searched = self.cut_from or self.num_codebooks
        cut_from = searched if self.beam > 1 and num_codebooks < searched else 0
        sizes = self.codebook_sizes[:num_codebooks]
        return dataclasses.replace(self, codebook_sizes=sizes, format=format, cut_from=cut_from)

    def difference(self, other: Settings) -> str:
        """What the first setting is that ``other`` has differently, in words; empty if none."""
        for field in dataclasses.fields(self):
            mine, others = getattr(self, field.name), getattr(other, field.name)
            if mine != others:
                return WORDS.get(
                    field.name, field.name.replace("_", " ") + " {} and not {}"
                ).format(_shown(mine), _shown(others))
        return ""

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"codebook_sizes": list(self.codebook_sizes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """The settings that :meth:`as_dict` wrote.

        Raises:
            TypeError, KeyError: it did not write these.
        """
        return cls(**values | {"codebook_sizes": tuple(values["codebook_sizes"])})


WORDS = {
    "corpus": "another corpus, or the same before it changed",
    "utterances": "another corpus, or the same before it changed",
    "codebook_sizes": "{} codebooks and not {}",
    "cut_from": "codes that a beam chose for {} codebooks and not {}",
}
"""How a difference is said, where the setting's name does not say it."""


def _shown(value: object) -> object:
    return len(value) if isinstance(value, tuple) else value
