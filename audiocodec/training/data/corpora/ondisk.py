"""Public corpora on the disk: their folders, files and speakers."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from audiocodec.audio import find_audio
from audiocodec.errors import CodecError
from audiocodec.training.data.corpora.download import download_corpus
from audiocodec.training.data.corpora.table import CORPORA, PublicCorpus


def corpora_files(root: str | Path, names: Sequence[str], download: bool = False) -> list[Path]:
    """The audio files of some public corpora, sorted within each corpus.

    Args:
        root: folder that holds, or will hold, the folder of each corpus, e.g.
            `LibriSpeech/<subset>` or `LJSpeech-1.1`; or such a folder itself.
        names: keys of `CORPORA`.
        download: download the corpora that are missing.

    Raises:
        CodecError: a corpus that is missing and not to be downloaded, too little disk space, or a
            download that failed.
    """
    root = Path(root).expanduser()
    files: list[Path] = []
    for name in dict.fromkeys(names):
        corpus = CORPORA[name]
        folder = _find(root, corpus)
        if folder is None:
            expected = _parent(root, corpus) / corpus.folder / corpus.audio
            if not download:
                raise CodecError(
                    f"{expected}: not there; set data.download=true to fetch {corpus.title}, or "
                    f"data.root to the folder that holds {corpus.folder}/"
                )
            download_corpus(corpus, _parent(root, corpus))
            folder = expected
        found = [file for file in find_audio(folder) if not fnmatch(file.name, corpus.ignored)]
        if not found:
            raise CodecError(
                f"{folder}: no audio but {corpus.ignored}, which is not trained on; unpack "
                f"{corpus.title} again"
            )
        files += found
    return files


def missing_corpora(root: str | Path, names: Sequence[str]) -> list[str]:
    """Those of `names` that are not in `root`."""
    root = Path(root).expanduser()
    return [name for name in dict.fromkeys(names) if _find(root, CORPORA[name]) is None]


def count_speakers(files: Iterable[Path], names: Sequence[str]) -> int:
    """The number of speakers of `files` of the corpora `names`.

    LibriSpeech and LibriTTS have the same numbers for the same readers.
    """
    patterns = {re.compile(CORPORA[name].file_name) for name in names}
    matches = (pattern.match(file.name) for file in files for pattern in patterns)
    return len({match[1] for match in matches if match})


def _find(root: Path, corpus: PublicCorpus) -> Path | None:
    """The folder of a corpus's audio, or `None`.

    It is in `root`; or `root` is the corpus's own top folder, or a copy of it with another name,
    which the names of the files tell; or `root` is the folder of the audio itself.
    """
    path = Path(corpus.folder, corpus.audio)
    if (folder := root / path).is_dir():
        return folder
    if (folder := root.joinpath(*path.parts[1:])).is_dir() and (
        _parent(root, corpus) != root or _has_files_of(folder, corpus)
    ):
        return folder
    is_audio_folder = root.is_dir() and root.absolute().parts[-len(path.parts) :] == path.parts
    return root if is_audio_folder else None


def _parent(root: Path, corpus: PublicCorpus) -> Path:
    """The folder that holds, or will hold, the corpus's top folder."""
    return root.parent if root.name == Path(corpus.folder).parts[0] else root


def _has_files_of(folder: Path, corpus: PublicCorpus) -> bool:
    return any(re.match(corpus.file_name, file.name) for file in folder.rglob("*"))
