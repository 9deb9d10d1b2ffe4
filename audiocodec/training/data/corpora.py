"""Public corpora by name: used as they are on the disk, or downloaded, checked and unpacked.

torchaudio's dataset class downloads if torchaudio is installed (extra ``corpora``), otherwise pooch
does (extra ``train``).
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from audiocodec.audio import find_audio
from audiocodec.errors import CodecError
from audiocodec.extras import import_extra, import_torchaudio

OPENSLR = "https://www.openslr.org/resources/12/"

# LibriSpeech (OpenSLR 12): subset -> size of its archive in GB, and about the same unpacked
LIBRISPEECH_SUBSETS = {
    "train-clean-100": 6.3,
    "train-clean-360": 23.0,
    "train-other-500": 30.0,
    "dev-clean": 0.34,
    "dev-other": 0.31,
    "test-clean": 0.35,
    "test-other": 0.33,
}

# SHA-256 of each archive, as torchaudio 2.11 has it (torchaudio/datasets/librispeech.py)
LIBRISPEECH_SHA256 = {
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
}


def librispeech(root: str | Path, subsets: Sequence[str], download: bool = False) -> list[Path]:
    """The audio files of some subsets of LibriSpeech, sorted within each subset.

    Args:
        root: folder that holds, or will hold, `LibriSpeech/<subset>/<speaker>/<chapter>/*.flac`,
            or the folder `LibriSpeech` itself.
        subsets: such as `["train-clean-100", "dev-clean"]`, see `LIBRISPEECH_SUBSETS`.
        download: download the subsets that are missing.

    Raises:
        CodecError: no subset or an unknown one, a subset that is missing and not to be downloaded,
            too little disk space, or a download that failed.
    """
    if not subsets:
        raise CodecError(f"LibriSpeech: no subset given; name some of {_names()}")
    for subset in subsets:
        if subset not in LIBRISPEECH_SUBSETS:
            raise CodecError(f"LibriSpeech has no subset '{subset}'; it has {_names()}")
    root = Path(root).expanduser()
    parent = root.parent if root.name == "LibriSpeech" else root
    files: list[Path] = []
    for subset in dict.fromkeys(subsets):
        folder = parent / "LibriSpeech" / subset
        if not folder.is_dir():
            if not download:
                raise CodecError(
                    f"{folder}: not there; set data.download=true to fetch it, or data.root to the "
                    "folder that holds LibriSpeech/"
                )
            _download_librispeech(parent, subset)
        files += find_audio(folder)
    return files


def _download_librispeech(root: Path, subset: str) -> None:
    """Download a subset into a temporary folder, and move it to its final path when it is whole.

    A folder at the final path counts as complete, so an incomplete extraction must never be there.
    An archive that was downloaded whole is kept for the next attempt.
    """
    staging = root / f".{subset}.download"
    gigabytes = LIBRISPEECH_SUBSETS[subset]
    try:
        staging.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(staging).free / 1e9
        if free < 2 * gigabytes:
            raise CodecError(
                f"{root}: LibriSpeech {subset} needs {2 * gigabytes:.1f} GB while it is unpacked, "
                f"{free:.1f} GB are free; choose another folder or a smaller subset"
            )
        shutil.rmtree(staging / "LibriSpeech", ignore_errors=True)
        if importlib.util.find_spec("torchaudio"):
            import_torchaudio().datasets.LIBRISPEECH(str(staging), url=subset, download=True)
        else:
            _fetch_with_pooch(staging, subset)
        (root / "LibriSpeech").mkdir(exist_ok=True)
        (staging / "LibriSpeech" / subset).rename(root / "LibriSpeech" / subset)
    except (OSError, RuntimeError, ValueError, tarfile.TarError, EOFError) as error:
        raise CodecError(
            f"LibriSpeech {subset} could not be downloaded to {root} ({_reason(error)}); try "
            f"again, or fetch {subset}.tar.gz from https://www.openslr.org/12 and unpack it there"
        ) from None
    finally:
        if staging.is_dir() and not list(staging.glob("*.tar.gz")):
            shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(staging, ignore_errors=True)


def _fetch_with_pooch(staging: Path, subset: str) -> None:
    """Download the archive of ``subset`` into ``staging``, check it and unpack it there."""
    pooch = import_extra("pooch", "train", "the download of LibriSpeech")
    pooch.get_logger().setLevel("WARNING")
    archive = pooch.retrieve(
        f"{OPENSLR}{subset}.tar.gz",
        known_hash=f"sha256:{LIBRISPEECH_SHA256[subset]}",
        fname=f"{subset}.tar.gz",
        path=staging,
        progressbar=sys.stderr.isatty(),
    )
    with tarfile.open(archive) as tar:
        tar.extractall(staging, filter="data")


def _reason(error: Exception) -> str:
    """One line: `HTTP Error 404`, `Name or service not known`, `invalid hash value ...`."""
    return " ".join(str(getattr(error, "reason", None) or error).split()) or type(error).__name__


def _names() -> str:
    return ", ".join(LIBRISPEECH_SUBSETS)
