"""``open_corpus``: a corpus of any kind by its path."""

from __future__ import annotations

from pathlib import Path

from audiocodec.audio.formats import READ_SUFFIXES
from audiocodec.corpus.sources.corpus import Corpus
from audiocodec.corpus.sources.folder import FolderCorpus
from audiocodec.corpus.sources.manifest import ManifestCorpus
from audiocodec.errors import CodecError
from audiocodec.paths import find_inputs


def open_corpus(path: Path) -> Corpus:
    """The corpus at ``path``: a folder, or a manifest.

    Raises:
        CodecError: nothing there, no corpus, or one with an error, which is named.
    """
    none = f"no audio in this folder (looked for {' '.join(READ_SUFFIXES)})"
    files = find_inputs(path, READ_SUFFIXES, none)
    if path.is_dir():
        return FolderCorpus(path, files)
    if path.suffix.lower() in (".jsonl", ".json"):
        return ManifestCorpus(path)
    raise CodecError(f"{path}: is no corpus; name a folder of audio files or a .jsonl manifest")
