"""``open_corpus``: a corpus of any kind by its path.

To add a kind, write a class with the methods of :class:`~audiocodec.corpus.sources.corpus.Corpus`
and add it to :data:`KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.audio.formats import READ_SUFFIXES
from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.corpus.sources.folder import FolderCorpus
from audiocodec.corpus.sources.manifest import ManifestCorpus
from audiocodec.corpus.sources.parquet import ParquetCorpus
from audiocodec.corpus.sources.textlist import ListCorpus
from audiocodec.corpus.sources.webdataset import WebDatasetCorpus
from audiocodec.errors import CodecError
from audiocodec.paths import find_inputs


@dataclass(frozen=True)
class Kind:
    """A kind of corpus.

    Args:
        name: for messages, in the plural.
        suffixes: lower-case suffixes of its files.
        open: the folder and the files in it, sorted -> the corpus.
        in_folders: a folder of such files is a corpus too, not only a single file.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Path, Sequence[Path]], Corpus]
    in_folders: bool = True


KINDS = [
    Kind("audio files", READ_SUFFIXES, FolderCorpus),
    Kind("WebDataset tars", (".tar",), WebDatasetCorpus),
    Kind("Parquet files", (".parquet",), ParquetCorpus),
    Kind("manifests", (".jsonl", ".json"), lambda _, files: ManifestCorpus(files[0]), False),
    Kind("lists", (".txt", ".lst", ".list"), lambda _, files: ListCorpus(files[0]), False),
]


def open_corpus(path: Path) -> Corpus:
    """The corpus at ``path``: a folder or a file of one of the kinds.

    Raises:
        CodecError: nothing there, no corpus, or one with an error, which is named.
    """
    in_folders = [kind for kind in KINDS if kind.in_folders]
    suffixes = [suffix for kind in in_folders for suffix in kind.suffixes]
    none = f"no corpus in this folder (looked for {' '.join(suffixes)})"
    files = find_inputs(path, suffixes, none)
    if not path.is_dir():
        for kind in KINDS:
            if path.suffix.lower() in kind.suffixes:
                return kind.open(path.parent, files)
        raise CodecError(
            f"{path}: is no corpus; name a folder of audio files, a manifest (.jsonl), a list of "
            "paths (.txt), or .tar or .parquet files"
        )
    there = {
        kind.name: kept
        for kind in in_folders
        if (kept := [file for file in files if file.suffix.lower() in kind.suffixes])
    }
    if len(there) > 1:
        counts = " and ".join(f"{len(kept)} {name}" for name, kept in there.items())
        raise CodecError(f"{path}: holds {counts}; name a folder with one kind, or a manifest")
    return next(kind.open(path, there[kind.name]) for kind in in_folders if kind.name in there)
