"""What a listening test compares: the files of several systems, and their references.

A folder holds a folder for each system, with files of the same names: ``opus/a.wav`` and
``codec2/a.wav``. Of a model, ``codec evaluate --save`` writes a system for each number of
codebooks: ``speech_16khz/6/a.wav``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.audio import find_audio
from audiocodec.errors import CodecError

REFERENCE = "reference"
Clips = Mapping[str, Path]
"""Audio files by their path in the folder of their system, without the suffix."""


@dataclass(frozen=True)
class Systems:
    """The files to listen to: those of ``base`` beside those of each other system.

    ``base`` is ``"reference"`` or the name of a system. ``base_clips`` and each of ``others`` have
    all ``clips``.
    """

    base: str
    base_clips: Clips
    others: Mapping[str, Clips]
    clips: tuple[str, ...]


def find_systems(
    folder: str | Path,
    *,
    reference: str | Path | None = None,
    systems: Sequence[str] = (),
    against: str = REFERENCE,
) -> Systems:
    """Find the files of a listening test.

    Args:
        folder: holds a folder for each system.
        reference: the folder of the references; it may have more files than are compared. By
            default ``folder/reference``, or ``folder/reference_RATE``.
        systems: their folders in ``folder``, such as ``"speech_16khz/6"``. By default all.
        against: what each system is compared with, ``"reference"`` or the name of a system.

    Raises:
        CodecError: there are no references or no systems, or their files have different names.
    """
    top = Path(folder)
    if not top.is_dir():
        raise CodecError(f"{top}: no such folder; name a folder with a folder for each system")
    if against == REFERENCE:
        base_folder = _reference_folder(top, reference)
    else:
        base_folder = top / against
    base_clips = _clips(base_folder)
    if systems:
        found: dict[str, Clips] = {Path(name).as_posix(): _clips(top / name) for name in systems}
    else:
        found = _all_systems(top, base_folder, base_clips)
    found.pop(Path(against).as_posix(), None)
    if not found:
        raise CodecError(
            f"{top}: nothing in it to compare with {against}; put the decoded files of each system "
            "into a folder of its own"
        )
    first, *rest = found
    for name in rest:
        for one, other in ((first, name), (name, first)):
            if missing := found[one].keys() - found[other].keys():
                raise CodecError(
                    f"{found[one][min(missing)]}: {top / other} has no file of this name; all "
                    "systems need the same files"
                )
    if missing := found[first].keys() - base_clips.keys():
        raise CodecError(
            f"{found[first][min(missing)]}: {base_folder} has no file of this name; each file "
            "needs one there"
        )
    return Systems(against, base_clips, found, tuple(sorted(found[first])))


def _reference_folder(top: Path, reference: str | Path | None) -> Path:
    if reference is not None:
        return Path(reference)
    if (top / REFERENCE).is_dir():
        return top / REFERENCE
    found = sorted(path for path in top.glob(f"{REFERENCE}_*") if path.is_dir())
    if len(found) > 1:
        raise CodecError(
            f"{top}: several folders of references ({', '.join(path.name for path in found)}); "
            "choose one with --reference"
        )
    if not found:
        raise CodecError(
            f"{top}: no folder {REFERENCE} in it; name the folder of the recordings with "
            "--reference, or a system to compare with with --against"
        )
    return found[0]


def _all_systems(top: Path, base_folder: Path, base_names: Collection[str]) -> dict[str, Clips]:
    """The systems in a folder, sorted by name, then by the number of codebooks."""
    systems: dict[str, Clips] = {}
    for path in sorted(top.iterdir()):
        name = path.name
        is_reference = name == REFERENCE or name.startswith(f"{REFERENCE}_")
        if not path.is_dir() or name.startswith(".") or is_reference:
            continue
        if path.resolve() == base_folder.resolve():
            continue
        clips = _clips(path)
        numbers = {Path(clip).parts[0] for clip in clips}
        if clips.keys().isdisjoint(base_names) and all(n.isdecimal() for n in numbers):
            for number in sorted(numbers, key=int):
                systems[f"{name}/{number}"] = _clips(path / number)
        else:
            systems[name] = clips
    return systems


def _clips(folder: Path) -> dict[str, Path]:
    if folder.is_file():
        raise CodecError(f"{folder}: is a file; name a folder")
    clips: dict[str, Path] = {}
    for file in find_audio(folder):
        first = clips.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
        if first != file:
            raise CodecError(f"{file}: {first} has the same name; remove one of them")
    return clips
