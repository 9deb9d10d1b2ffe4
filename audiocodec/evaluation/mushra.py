"""A listening test as a configuration of webMUSHRA (Schoeffler et al. 2018, doi:10.5334/jors.187).

MUSHRA is Recommendation ITU-R BS.1534: a listener rates all systems, a hidden reference and
anchors side by side, from 0 to 100.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from audiocodec.audio import audio_info
from audiocodec.audio.reader import AudioInfo
from audiocodec.errors import CodecError
from audiocodec.evaluation.listening import REFERENCE, Systems
from audiocodec.paths import replacing, writing

LONGEST = 12.0  # s
MOST_SYSTEMS = 12
WELCOME = (
    "Please use headphones. On each page, compare the conditions with the reference and rate their "
    "quality from 0 (bad) to 100 (excellent). One of them is the reference itself."
)


def write_mushra(path: str | Path, systems: Systems, title: str = "Listening test") -> None:
    """Write the configuration, in YAML. It appears whole or not at all.

    webMUSHRA reads files relative to its own folder, so the paths of ``systems`` must be, too.

    Raises:
        CodecError: the files are not compared with references, a path is absolute, or the files of
            a clip differ in length, sample rate or channels, which stops webMUSHRA.
    """
    text = yaml.safe_dump(
        mushra_config(systems, Path(path).stem, title), sort_keys=False, allow_unicode=True
    )
    with replacing(Path(path)) as temporary, writing(Path(path)):
        temporary.write_text(text, encoding="utf-8")


def mushra_config(systems: Systems, name: str, title: str) -> dict[str, Any]:
    """What :func:`write_mushra` writes; results are stored under ``name``."""
    if systems.base != REFERENCE:
        raise CodecError("MUSHRA compares with references; leave out --against")
    pages = [_page(systems, clip, number) for number, clip in enumerate(systems.clips, start=1)]
    return {
        "testname": title,
        "testId": re.sub(r"\W+", "_", name, flags=re.ASCII),
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": [
            {"type": "generic", "id": "welcome", "name": title, "content": WELCOME},
            ["random", *pages],
            {
                "type": "finish",
                "name": "Thank you",
                "content": "Send the results with the button below.",
                "popupContent": "Your results were sent.",
                "showResults": False,
                "writeResults": True,
            },
        ],
    }


def _page(systems: Systems, clip: str, number: int) -> dict[str, Any]:
    reference = systems.base_clips[clip]
    expected = audio_info(reference)
    for clips in systems.others.values():
        found = audio_info(clips[clip])
        if _shape(found) != _shape(expected):
            raise CodecError(
                f"{clips[clip]}: {_shape(found)}, but {reference} has {_shape(expected)}; "
                "webMUSHRA needs equal ones, so convert one of them"
            )
    return {
        "type": "mushra",
        "id": re.sub(r"[^\w.-]+", "_", f"{number:03d}_{clip}", flags=re.ASCII),
        "name": f"Clip {number}",
        "content": "",
        "showWaveform": True,
        "enableLooping": True,
        # BS.1534's limits, which stop webMUSHRA
        "strict": expected.seconds <= LONGEST and len(systems.others) <= MOST_SYSTEMS,
        "reference": _path(reference),
        "createAnchor35": True,
        "createAnchor70": True,
        "randomize": True,
        "showConditionNames": False,
        "stimuli": {name: _path(clips[clip]) for name, clips in systems.others.items()},
    }


def _shape(info: AudioInfo) -> str:
    return f"{info.num_samples} samples at {info.sample_rate} Hz, channels: {info.channels}"


def _path(file: Path) -> str:
    if file.is_absolute() or ".." in file.parts:
        raise CodecError(
            f"{file}: webMUSHRA reads files relative to its own folder; put the files into that "
            "folder and name them relative to it"
        )
    return file.as_posix()
