"""Recordings packed in tar files: unpacked once, into the folder of decoded audio."""

import hashlib
import sys
import tarfile
from pathlib import Path

from audiocodec.audio.formats import READ_SUFFIXES
from audiocodec.errors import CodecError
from audiocodec.paths import replacing_folder, writing
from audiocodec.training.data.files import DataConfig

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def unpacked(config: DataConfig, folder: Path) -> DataConfig:
    """The same settings, with folders in place of the tar files that they name.

    ``data.root`` and ``data.validation`` may be tar files of audio files. Each is unpacked below
    ``folder``, unless it is there from an earlier start of the run.

    Raises:
        CodecError: damaged, without audio, or there is no space for it.
    """
    changes = {
        key: str(_unpack(path, folder))
        for key in ("root", "validation")
        if not (key == "root" and config.stream)
        and (path := Path(getattr(config, key) or "").expanduser()).is_file()
        and path.name.lower().endswith(TAR_SUFFIXES)
    }
    return config.model_copy(update=changes)


def _unpack(tar: Path, folder: Path) -> Path:
    status = tar.stat()
    name = f"{tar.resolve()} {status.st_size} {status.st_mtime}"
    target = folder / f"{tar.name.split('.')[0]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    if target.is_dir():
        return target
    print(f"unpacking {tar}", file=sys.stderr)
    with writing(target):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with replacing_folder(target) as temporary, tarfile.open(tar) as file:
            found = False
            for member in file:
                if member.isfile() and Path(member.name).suffix.lower() in READ_SUFFIXES:
                    with writing(target):
                        file.extract(member, temporary, filter="data")
                    found = True
            if not found:
                raise CodecError(
                    f"{tar}: no audio in this tar (looked for {' '.join(READ_SUFFIXES)})"
                )
    except (tarfile.TarError, EOFError):
        raise CodecError(f"{tar}: damaged, or not a tar file; pack it again") from None
    return target
