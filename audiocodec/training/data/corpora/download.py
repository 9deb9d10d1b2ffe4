"""The download of a public corpus: checked by its checksum, unpacked, and moved when it is whole.

torchaudio's dataset class downloads if there is one and torchaudio is installed (extra
``corpora``), otherwise pooch does (extra ``train``).
"""

import importlib.util
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.extras import import_extra, import_torchaudio
from audiocodec.training.data.corpora.table import PublicCorpus


def download_corpus(corpus: PublicCorpus, root: Path) -> None:
    """Download a corpus into a temporary folder, and move it to its final path when it is whole.

    A folder at the final path counts as complete, so an incomplete extraction must never be there.
    An archive that was downloaded whole is kept for the next attempt.

    Raises:
        CodecError: the final path is taken, too little disk space, or a download that failed.
    """
    target = root / corpus.folder
    if target.exists():
        raise CodecError(
            f"{target}: is there, but has no {corpus.audio}/ as {corpus.title} has; move it away "
            "or unpack the corpus again"
        )
    staging = root / f".{corpus.folder.replace('/', '-')}.download"
    try:
        staging.mkdir(parents=True, exist_ok=True)
        needed = corpus.unpacked + corpus.gigabytes * (not (staging / corpus.archive).exists())
        free = shutil.disk_usage(staging).free / 1e9
        if free < needed:
            raise CodecError(
                f"{root}: {corpus.title} needs {needed:.1f} GB while it is unpacked, "
                f"{free:.1f} GB are free; choose another folder or a smaller corpus"
            )
        shutil.rmtree(staging / Path(corpus.folder).parts[0], ignore_errors=True)
        if corpus.torchaudio and importlib.util.find_spec("torchaudio"):
            _fetch_with_torchaudio(corpus, staging)
        else:
            _fetch_with_pooch(corpus, staging)
        target.parent.mkdir(exist_ok=True)
        (staging / corpus.folder).rename(target)
    except (
        OSError, RuntimeError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise CodecError(
            f"{corpus.title} could not be downloaded to {root} ({_reason(error)}); try again, or "
            f"fetch {corpus.archive} from {corpus.page} and unpack it there"
        ) from None
    finally:
        if not (staging / corpus.archive).exists():
            shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(staging, ignore_errors=True)


def _fetch_with_torchaudio(corpus: PublicCorpus, staging: Path) -> None:
    dataset = getattr(import_torchaudio().datasets, corpus.torchaudio)
    dataset(str(staging), download=True, **({"url": corpus.subset} if corpus.subset else {}))


def _fetch_with_pooch(corpus: PublicCorpus, staging: Path) -> None:
    pooch = import_extra("pooch", "train", "the download of a corpus")
    pooch.get_logger().setLevel("WARNING")
    archive = pooch.retrieve(
        corpus.url,
        known_hash=corpus.checksum,
        fname=corpus.archive,
        path=staging,
        progressbar=sys.stderr.isatty(),
    )
    folder = staging if corpus.has_top_folder else staging / corpus.folder
    # Names in a zip cannot lead out of the folder, and it takes no filter.
    shutil.unpack_archive(archive, folder, filter=None if archive.endswith(".zip") else "data")


def _reason(error: Exception) -> str:
    """One line: `HTTP Error 404`, `Name or service not known`, `invalid hash value ...`."""
    return " ".join(str(getattr(error, "reason", None) or error).split()) or type(error).__name__
