"""Names of outputs: is a file named like its kind, and a folder not like a file?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audiocodec.audio import READ_SUFFIXES
from audiocodec.errors import CodecError
from audiocodec.tokens.header import SUFFIX

_OTHER_SUFFIXES = (
    ".au .caf .mkv .npy .npz .pt .pth .pkl .bin .safetensors .onnx .parquet .arrow .csv .tsv .txt "
    ".json .jsonl .yaml .yml .xml .h5 .hdf5 .sqlite .zip .tar .gz .tgz .bz2 .xz .zst .7z"
)
FILE_SUFFIXES = frozenset([SUFFIX, *READ_SUFFIXES, *_OTHER_SUFFIXES.split()])
"""Suffixes that stand for a file, never for a folder."""


def check_file_name(output: str, suffixes: Sequence[str]) -> None:
    """Raise :class:`CodecError` if a file ``output`` is named like another kind, or like a folder.

    An existing folder or device passes: whatever writes the file has a better message.

    Args:
        suffixes: those that the file may have; any if empty.
    """
    path = Path(output)
    suffix = path.suffix.lower()
    if not suffixes or suffix in suffixes or (path.exists() and not path.is_file()):
        return
    stem = path.with_suffix("") if suffix in FILE_SUFFIXES else path
    names = " or ".join(f"{stem}{own}" for own in suffixes)
    if suffix in FILE_SUFFIXES:
        kind = "audio" if set(suffixes) & set(READ_SUFFIXES) else "files"
        what = f"not a {SUFFIX} file" if SUFFIX in suffixes else f"cannot write `{suffix}` {kind}"
        raise CodecError(f"{output}: {what}; name it {names}")
    raise CodecError(f"{output}: a file or a folder? name it {names}, or {output}/ for a folder")


def check_folder_name(output: str) -> None:
    """Raise :class:`CodecError` if a new folder is named like a file and without a slash."""
    suffix = Path(output).suffix.lower()
    if suffix in FILE_SUFFIXES and not output.endswith("/") and not Path(output).is_dir():
        raise CodecError(
            f"{output}: the output of several files is a folder, but `{suffix}` names a file; "
            f"write {Path(output).with_suffix('')}, or {output}/ if the folder is to be called so"
        )
