"""A corpus as the audio of a run: its utterances, decoded while the run trains."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from audiocodec.audio.formats import READ_SUFFIXES
from audiocodec.corpus.opening import open_corpus
from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.corpus.utterance import Utterance
from audiocodec.errors import CodecError
from audiocodec.training.data.clips import Recording
from audiocodec.training.data.files import DataConfig, audio_or_shards, data_root, evenly_spaced
from audiocodec.training.data.streamed import is_held_out

CORPUS_SUFFIXES = (".jsonl", ".json", ".txt", ".lst", ".list", ".parquet")
SHARD_SUFFIXES = (".tar", ".parquet")

MAX_HELD_OUT = 500
"""Utterances that are held out, one of fifty at most."""

MAX_SPACED = 100
"""Utterances that are looked at by themselves; each may take a row group of a Parquet file."""


class CorpusSplit(NamedTuple):
    """The utterances of a run."""

    corpus: Corpus
    held_out: dict[str, int]
    """Ids that are not trained on, with their places in the corpus (-1: unknown)."""
    validation: list[Recording]
    """Some of them, or those of ``data.validation``."""

    @property
    def num_recordings(self) -> int:
        """Utterances to train on."""
        return len(self.corpus) - len(self.held_out)

    def evenly_spaced(self, most: int) -> list[Recording]:
        """At most ``most`` of the utterances to train on, and :data:`MAX_SPACED`, evenly spaced."""
        return [
            utterance
            for utterance in _evenly_spaced(self.corpus, min(most, MAX_SPACED))
            if utterance.id not in self.held_out and not is_held_out(utterance)
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


def split_utterances(
    config: DataConfig, held_out_before: Mapping[str, Sequence[int]] | None = None
) -> CorpusSplit:
    """Open the corpus of a recipe, and choose what is held out.

    Args:
        held_out_before: ids that this run has held out so far, each with a list that begins with
            its place. They stay held out.

    Raises:
        CodecError: the corpus, or ``data.validation``, cannot be read or is too small.
    """
    root = data_root(config)
    corpus = open_corpus(root)
    before = {id: int(state[0]) for id, state in (held_out_before or {}).items()}
    if config.validation is not None:
        return CorpusSplit(corpus, before, validation_audio(config))
    stride = max(min(50, len(corpus)), len(corpus) // MAX_HELD_OUT)
    numbers = sorted(before.values()) if before else range(0, len(corpus), stride)
    found = {n: item for n in numbers for item in corpus.utterances(n, n + 1)}
    if before and {item.id for item in found.values()} != set(before):  # the corpus has changed
        everything = enumerate(corpus.utterances(0, len(corpus)))
        found = {number: item for number, item in everything if item.id in before}
    held_out = {n: item for n, item in found.items() if before or not is_held_out(item)}
    if not held_out or len(held_out) == len(corpus):
        raise CodecError(
            f"{root}: too few utterances to hold one out, or those held out before are gone; name "
            "others: --set data.validation=FOLDER"
        )
    ids = before | {item.id: number for number, item in held_out.items()}
    return CorpusSplit(corpus, ids, [*held_out.values()])


def validation_audio(config: DataConfig) -> list[Recording]:
    """The audio that ``data.validation`` names: files, shards, or utterances of a corpus.

    Raises:
        CodecError: there is none.
    """
    path = Path(config.validation or "").expanduser()
    if not _is_corpus(path, False):
        return [*audio_or_shards(path)]
    return [*_evenly_spaced(open_corpus(path), MAX_SPACED)]


def _evenly_spaced(corpus: Corpus, most: int) -> list[Utterance]:
    numbers = evenly_spaced(range(len(corpus)), most)
    return [item for n in numbers for item in corpus.utterances(n, n + 1)]


def _is_corpus(path: Path, tar_too: bool) -> bool:
    suffix = path.suffix.lower()
    if path.is_file():
        return suffix in CORPUS_SUFFIXES or (tar_too and suffix == ".tar")
    if not path.is_dir():
        return False
    suffixes = {entry.suffix.lower() for entry in path.iterdir()}
    return bool(suffixes & {*SHARD_SUFFIXES}) and not suffixes & {*READ_SUFFIXES}
