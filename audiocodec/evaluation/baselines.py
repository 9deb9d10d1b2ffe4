"""Other codecs to evaluate beside a model: run by their programs, or read from a folder.

A baseline is written ``opus:6k``, ``speex:4`` or ``codec2:3200`` (:mod:`programs`), or
``NAME-folder:DIR`` or ``folder:DIR`` for decoded files that are there already (:mod:`folders`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from audiocodec.errors import CodecError
from audiocodec.evaluation.folders import FolderBaseline
from audiocodec.evaluation.programs import SYSTEMS, ProgramBaseline
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.scoring import Pair

FOLDER = re.compile(r"(?:(?P<name>[^:/]+)-)?folder:(?P<folder>.+?)(?:@(?P<rate>\d+(?:\.\d+)?k?))?")
"""``encodec-folder:DIR@6k``: a name, the folder, and bits per second."""


class Baseline(Protocol):
    """What an evaluation needs of another codec.

    Attributes:
        name: in tables; what stands before a colon is the same for all settings of a codec.
        sample_rate: at which it is compared with the input, in Hz.
        missing: a line on why it cannot be evaluated, or None.
    """

    @property
    def name(self) -> str: ...

    @property
    def sample_rate(self) -> int: ...

    @property
    def missing(self) -> str | None: ...

    def code_file(self, file: Path) -> list[Pair[Row]]:
        """The reconstruction of all channels of a file: a list of one pair, without scores.

        Raises:
            CodecError: there is none.
        """


def parse_baselines(texts: Iterable[str]) -> list[Baseline]:
    """:func:`parse_baseline` of each text that is new.

    Raises:
        CodecError: as there, or two different ones have the same name.
    """
    found: dict[str, Baseline] = {}
    for text in dict.fromkeys(texts):
        baseline = parse_baseline(text)
        if baseline.name in found:
            raise CodecError(
                f"baseline {text}: another one is called {baseline.name} too; write it with a name "
                "of its own, NAME-folder:DIR"
            )
        found[baseline.name] = baseline
    return list(found.values())


def parse_baseline(text: str) -> Baseline:
    """``SYSTEM:SETTING`` or ``NAME-folder:DIR@RATE``, whether its programs are installed or not.

    Raises:
        CodecError: no such system, a setting that it does not have, or a folder without audio.
    """
    if match := FOLDER.fullmatch(text):
        folder, rate = Path(match["folder"]), match["rate"]
        label = folder.resolve().name
        name = f"{match['name']}:{label}" if match["name"] else label
        kbps = None if rate is None else float(rate.rstrip("k")) / (1 if rate[-1] == "k" else 1000)
        return FolderBaseline(name, folder, kbps)
    name, _, setting = text.partition(":")
    system = SYSTEMS.get(name)
    if system is None:
        known = ", ".join(f"{name}:{each.example}" for name, each in SYSTEMS.items())
        raise CodecError(f"baseline {text}: no such codec; write {known}, or folder:DIR")
    if not re.fullmatch(system.pattern, setting):
        raise CodecError(
            f"baseline {text}: {name} has no such setting; write for example {name}:"
            f"{system.example}"
        )
    return ProgramBaseline(text, system, setting)
