"""A corpus as the audio of a run: its utterances, decoded while the run trains."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audiocodec.audio.formats import READ_SUFFIXES
from audiocodec.corpus.opening import open_corpus
from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.errors import CodecError
from audiocodec.training.data.clips import Recording
from audiocodec.training.data.files import DataConfig, audio_or_shards, data_root
from audiocodec.training.data.streamed import is_held_out

CORPUS_SUFFIXES = (".jsonl", ".json", ".txt", ".lst", ".list", ".parquet")
SHARD_SUFFIXES = (".tar", ".parquet")

MAX_HELD_OUT = 500
"""Utterances that are held out, one of fifty at most."""


class CorpusSplit(NamedTuple):
    """The utterances of a run."""

    corpus: Corpus
    held_out: list[str]
    """Ids that are not trained on."""
    validation: list[Recording]
    """Some of them, or those of ``data.validation``."""

    @property
    def num_recordings(self) -> int:
        """Utterances to train on."""
        return len(self.corpus) - len(self.held_out)

    def evenly_spaced(self, most: int) -> list[Recording]:
        """At most ``most`` of the utterances to train on, evenly spaced."""
        held_out, total = set(self.held_out), len(self.corpus)
        return [
            utterance
            for number in np.unique(np.linspace(0, total - 1, min(most, total)).round())
            for utterance in self.corpus.utterances(int(number), int(number) + 1)
            if utterance.id not in held_out and not is_held_out(utterance)
        ]

    def describe(self) -> str:
        """The numbers of utterances, in one line."""
        count = self.num_recordings
        return (
            f"{count} utterance{'s' * (count != 1)} to train on, decoded while the run trains; "
            f"{len(self.held_out) or len(self.validation)} held out"
        )


def is_corpus(config: DataConfig) -> bool:
    """Whether ``data.root`` is a corpus: a manifest, a list, Parquet files, or a folder of tars.

    A single tar is one with ``data.stream``; without, it is unpacked.
    """
    if config.root is None or config.corpora:
        return False
    return _is_corpus(data_root(config), config.stream)


def split_utterances(config: DataConfig, held_out_before: Collection[str] = ()) -> CorpusSplit:
    """Open the corpus of a recipe, and choose what is held out.

    Args:
        held_out_before: ids that this run has held out so far. They stay held out.

    Raises:
        CodecError: the corpus, or ``data.validation``, cannot be read or is too small.
    """
    root = data_root(config)
    corpus = open_corpus(root)
    if config.validation is not None:
        return CorpusSplit(corpus, [*held_out_before], validation_audio(config))
    stride = max(min(50, len(corpus)), len(corpus) // MAX_HELD_OUT)
    before = set(held_out_before)
    held_out = [
        utterance
        for start in range(0, len(corpus), 1 if before else stride)
        for utterance in corpus.utterances(start, start + 1)
        if utterance.id in before or (not before and not is_held_out(utterance))
    ]
    if not held_out or len(held_out) == len(corpus):
        raise CodecError(
            f"{root}: too few utterances to hold one out, or those held out before are gone; name "
            "others: --set data.validation=FOLDER"
        )
    return CorpusSplit(corpus, [utterance.id for utterance in held_out], [*held_out])


def validation_audio(config: DataConfig) -> list[Recording]:
    """The audio that ``data.validation`` names: files, shards, or utterances of a corpus.

    Raises:
        CodecError: there is none.
    """
    path = Path(config.validation or "").expanduser()
    if not _is_corpus(path, False):
        return [*audio_or_shards(path)]
    corpus = open_corpus(path)
    return [*corpus.utterances(0, min(len(corpus), MAX_HELD_OUT))]


def _is_corpus(path: Path, tar_too: bool) -> bool:
    suffix = path.suffix.lower()
    if path.is_file():
        return suffix in CORPUS_SUFFIXES or (tar_too and suffix == ".tar")
    if not path.is_dir():
        return False
    suffixes = {entry.suffix.lower() for entry in path.iterdir()}
    return bool(suffixes & {*SHARD_SUFFIXES}) and not suffixes & {*READ_SUFFIXES}
