"""The disk space that a run needs and a disk lacks."""

import shutil
from pathlib import Path


def disk_shortage(
    needed: int, disk: dict[str, int], folder: Path, cache_folder: Path, root: Path
) -> str:
    """An error message if a disk that the run writes to has too little space; else empty.

    Args:
        needed: bytes in all.
        disk: bytes of ``download`` and ``cache``, which may be on other disks.
        folder: the run's folder.
        cache_folder: the folder for decoded audio.
        root: the folder for downloads.
    """
    cache_elsewhere = not cache_folder.is_relative_to(folder)
    needed -= disk["download"] + (disk["cache"] if cache_elsewhere else 0)
    uses = [(folder, needed, "a folder on another disk with --out or data.cache")]
    uses.append((root, disk["download"], "a folder on another disk with data.root"))
    if cache_elsewhere:
        uses.append((cache_folder, disk["cache"], "a folder on another disk with data.cache"))
    for path, size, remedy in uses:
        existing = next(p for p in (path, *path.absolute().parents) if p.exists())
        free = shutil.disk_usage(existing).free
        if size > free:
            return (
                f"{path}: about {size / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; "
                f"make room, or name {remedy}"
            )
    return ""
