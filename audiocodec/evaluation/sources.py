"""Find the files to evaluate."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from audiocodec.audio import find_audio
from audiocodec.errors import CodecError


def find_sources(
    sources: str | Path | Iterable[str | Path],
) -> tuple[dict[Path, Path], dict[str, str]]:
    """Find the audio files among files and folders.

    Returns:
        For each file, its path relative to the source folder that it is in. If there are several
        sources, this path begins with the folder's name. Then, for each source without audio and
        each folder that cannot be listed, the reason.

    Raises:
        CodecError: there is no file at all.
    """
    paths = [sources] if isinstance(sources, str | Path) else list(sources)
    files: dict[Path, Path] = {}
    unreadable: dict[str, str] = {}

    def report(folder: Path, reason: str) -> None:
        unreadable[str(folder)] = reason

    for source in map(Path, paths):
        try:
            found = find_audio(source, report)
        except CodecError as error:
            unreadable[str(source)] = str(error)
            continue
        is_folder = source.is_dir()
        root = source if is_folder else source.parent
        prefix = source.resolve().name if is_folder and len(paths) > 1 else ""
        for file in found:
            files.setdefault(file, Path(prefix, file.relative_to(root)))
    if not files:
        raise CodecError(next(iter(unreadable.values()), "no files to evaluate"))
    return files, unreadable
