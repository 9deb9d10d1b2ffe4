"""Public corpora by name. torchaudio's dataset classes do the download and check the checksums.

This is the only module that imports torchaudio, and only when something must be downloaded: a
corpus that is on the disk already is used as it is.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from audiocodec.audio import find_audio
from audiocodec.errors import CodecError

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


def librispeech(root: str | Path, subsets: Sequence[str], download: bool = False) -> list[Path]:
    """The audio files of some subsets of LibriSpeech, sorted within each subset.

    Args:
        root: folder that holds, or will hold, `LibriSpeech/<subset>/<speaker>/<chapter>/*.flac`;
            the folder `LibriSpeech` itself is understood too.
        subsets: such as `["train-clean-100", "dev-clean"]`, see `LIBRISPEECH_SUBSETS`.
        download: fetch a subset that is not there. Nothing is fetched otherwise.

    Raises:
        CodecError: no subset or an unknown one, a subset that is absent and not to be downloaded,
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


def import_torchaudio() -> ModuleType:
    """torchaudio, with or without its compiled extension.

    The wheels of torchaudio load that extension when they are imported, and fail beside a CPU-only
    or a newer torch. The Python part runs without it, as in builds that come without a library, so
    an empty stand-in takes its place.

    Raises:
        CodecError: torchaudio is not installed.
    """
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError as error:
        if error.name == "torchaudio":
            raise CodecError("torchaudio is not installed; pip install torchaudio") from None
    except (ImportError, OSError, RuntimeError):
        pass
    for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
        del sys.modules[name]
    stand_in = ModuleType("torchaudio._extension")
    stand_in.__dict__.update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        fail_if_no_align=lambda function: function,
        _load_lib=lambda library: False,
    )
    sys.modules["torchaudio._extension"] = stand_in
    return importlib.import_module("torchaudio")


def _download_librispeech(root: Path, subset: str) -> None:
    """Fetch a subset beside its final place and move it there when it is whole.

    torchaudio takes any folder for a complete subset, so an extraction that was cut short must
    never stand under the final name. An archive that arrived whole is kept for the next attempt.
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
        dataset = import_torchaudio().datasets.LIBRISPEECH
        dataset(str(staging), url=subset, download=True)
        (root / "LibriSpeech").mkdir(exist_ok=True)
        (staging / "LibriSpeech" / subset).rename(root / "LibriSpeech" / subset)
    except (OSError, RuntimeError, tarfile.TarError, EOFError) as error:
        raise CodecError(
            f"LibriSpeech {subset} could not be downloaded to {root} ({_reason(error)}); try "
            f"again, or fetch {subset}.tar.gz from https://www.openslr.org/12 and unpack it there"
        ) from None
    finally:
        if staging.is_dir() and not list(staging.glob("*.tar.gz")):
            shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(staging, ignore_errors=True)


def _reason(error: Exception) -> str:
    """One line: `HTTP Error 404`, `Name or service not known`, `invalid hash value ...`."""
    return " ".join(str(getattr(error, "reason", None) or error).split()) or type(error).__name__


def _names() -> str:
    return ", ".join(LIBRISPEECH_SUBSETS)
