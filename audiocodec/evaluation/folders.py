"""Decoded files of another codec as a baseline: read from a folder, matched by their names."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from audiocodec.audio import audio_info, find_audio, load_audio
from audiocodec.errors import CodecError
from audiocodec.evaluation.pairs import LENGTH_TOLERANCE
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.saving import flat_name
from audiocodec.evaluation.scoring import Pair

RATES = "bitrates.csv"
"""In the folder: a line for each file with ``file`` and ``bytes`` or ``kbps``, if these differ."""


class FolderBaseline:
    """The outputs of another codec, for whose programs or weights there is no need.

    The decoded file of ``a/b/1.flac`` is ``1.*``, ``b/1.*``, ``b-1.*`` or the like: of those that
    are in the folder, the one with the longest path. Kbps are those of ``bitrates.csv`` in the
    folder, whose column ``bytes`` counts the bytes of the coded file and ``kbps`` is per channel;
    or else those that are stated.

    Args:
        name: in tables.
        folder: holds audio files, in subfolders or not.
        kbps: per channel, of files that ``bitrates.csv`` does not name.

    Raises:
        CodecError: there is no audio in the folder, or its table cannot be read.
    """

    missing = None

    def __init__(self, name: str, folder: Path, kbps: float | None = None) -> None:
        self.name = name
        self._folder = folder
        self._kbps = kbps
        self._files: dict[str, Path] = {}
        for file in find_audio(folder):
            key = file.relative_to(folder).with_suffix("").as_posix()
            first = self._files.setdefault(key, file)
            if first != file:
                raise CodecError(f"{file}: {first} has the same name; remove one of them")
        self.sample_rate = audio_info(next(iter(self._files.values()))).sample_rate
        self._rates = _read_rates(folder / RATES)
        self._inputs: dict[Path, Path] = {}  # decoded file -> the input that it belongs to

    def code_file(self, file: Path) -> list[Pair[Row]]:
        """The decoded file of ``file``, at :attr:`sample_rate` and with the length of the input.

        Raises:
            CodecError: there is none, it cannot be read, its length differs by more than 0.1 s, or
                its number of channels does.
        """
        key = self._key(file)
        decoded_file = self._files[key]
        reference = load_audio(file, self.sample_rate)[0].numpy()
        decoded = load_audio(decoded_file, self.sample_rate)[0].numpy()
        channels, length = reference.shape
        seconds, found = length / self.sample_rate, decoded.shape[1] / self.sample_rate
        if not math.isclose(seconds, found, rel_tol=0, abs_tol=LENGTH_TOLERANCE):
            raise CodecError(
                f"{decoded_file}: lasts {found:.2f} s, and {file} {seconds:.2f} s; is it of "
                "another recording?"
            )
        if len(decoded) != channels:
            raise CodecError(
                f"{decoded_file}: channels: {len(decoded)}, but {file} has {channels}; convert "
                "one of them"
            )
        fitted = np.zeros_like(reference)
        fitted[:, : decoded.shape[1]] = decoded[:, :length]
        row = Row(str(file), seconds, channels, num_codebooks=0)
        size, kbps = self._rates.get(key, (None, self._kbps))
        if size is not None and length:
            kbps = 8e-3 * size / (channels * seconds)
        row.payload_kbps = kbps
        return [Pair(row, fitted, reference, self.sample_rate)]

    def _key(self, file: Path) -> str:
        """The name of the decoded file of an input, from the longest path to the shortest."""
        parts = file.with_suffix("").parts
        for start in range(len(parts)):
            for key in ("/".join(parts[start:]), flat_name(parts[start:])):
                if key not in self._files:
                    continue
                other = self._inputs.setdefault(self._files[key], file)
                if other != file:
                    raise CodecError(
                        f"{file}: {self._files[key]} belongs to {other} already; keep the folders "
                        f"of the inputs in {self._folder}"
                    )
                return key
        raise CodecError(f"{file}: no decoded file {self._folder}/{parts[-1]}.* for it")


def _read_rates(path: Path) -> dict[str, tuple[float | None, float | None]]:
    """For each file of the table, by its path without suffix, bytes and kbps; one is None.

    Raises:
        CodecError: the table has no such columns or numbers.
    """
    if not path.exists():
        return {}
    rates: dict[str, tuple[float | None, float | None]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                key = Path(row["file"]).with_suffix("").as_posix()
                size, kbps = row.get("bytes"), row.get("kbps")
                rates[key] = (float(size), None) if size else (None, float(kbps or ""))
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (KeyError, ValueError, TypeError, csv.Error):
        raise CodecError(
            f"{path}: each line needs a file, and its bytes or kbps, under the titles file, bytes "
            "and kbps"
        ) from None
    return rates
