"""Outputs that are there already: are they what their input would become?

Recordings are replaced, models and numbers of codebooks change. What can be seen from headers,
lengths and times is compared, so that a folder which is encoded again has no stale files unsaid.
"""

from __future__ import annotations

import os
from pathlib import Path

from audiocodec.audio import AudioReader
from audiocodec.batch import OutputDiffers
from audiocodec.codec import Codec
from audiocodec.files import BLOCK_SECONDS
from audiocodec.tokenfile import TokenFile

Shape = tuple[int, int, int]
"""Sample rate, channels, samples per channel."""


def check_done(
    target: str | Path, codec: Codec, num_codebooks: int, source: str | Path | None = None
) -> None:
    """Raise :class:`~audiocodec.batch.OutputDiffers` unless ``target`` is what ``codec`` would
    write, as far as a look at its header, its length and those of ``source`` can say.

    Raises:
        CodecError: either file cannot be read.
    """
    with TokenFile(target) as tokens:
        header, truncated = tokens.header, tokens.truncated
        shape = (header.original_sample_rate, header.channels, tokens.num_samples)
    change = source and _change(
        shape, _shape(source, shape[2]), target, source, "token", "recordings"
    )
    there, held = "is there already, ", header.num_codebooks
    if header.fingerprint != codec.fingerprint:
        of_model = f"of model {header.model} ({header.fingerprint})"
        found = (f"{there}{of_model}", f"files are there already, {of_model}", "replaces {}")
    elif truncated:
        found = (f"{there}cut short", "files are there already, cut short", "replaces {}")
    elif change:
        found = (*change, "encodes {} again")
    elif held < num_codebooks:
        asked = f"files hold {held} codebooks, {num_codebooks} asked for"
        found = (f"{there}with {held} codebooks", asked, "replaces {}")
    elif held > num_codebooks:
        asked = f"{held} codebooks, {num_codebooks} asked for"
        found = (f"holds {asked}", f"files hold {asked}", "cuts {} down")
    else:
        return
    raise OutputDiffers(target, *found)


def check_decoded(target: str | Path, source: str | Path) -> None:
    """Raise :class:`~audiocodec.batch.OutputDiffers` if the audio file ``target`` has another
    length or shape than the token file ``source``, or is older.

    Raises:
        CodecError: either file cannot be read.
    """
    with TokenFile(source) as tokens:
        now = (tokens.header.original_sample_rate, tokens.header.channels, tokens.num_samples)
    if change := _change(_shape(target, now[2]), now, target, source, "audio", "token files"):
        raise OutputDiffers(target, *change, "decodes {} again")


def _shape(path: str | Path, expected: int) -> Shape:
    """Of an audio file, which is read whole if it may not hold ``expected`` samples: headers may
    only estimate."""
    with AudioReader(path) as reader:
        if reader.info.num_samples == expected:
            return reader.info.sample_rate, reader.info.channels, expected
        for _ in reader.blocks(BLOCK_SECONDS):
            pass
        return reader.info.sample_rate, reader.info.channels, reader.samples_read


def _change(
    then: Shape,
    now: Shape,
    target: str | Path,
    source: str | Path,
    targets: str,
    sources: str,
) -> tuple[str, str] | None:
    """What says that ``source`` was replaced since ``target`` was made: of one file, of many."""
    change = ""
    if then[:2] != now[:2]:
        change = f"{then[0]} Hz, {then[1]} channels; now {now[0]} Hz, {now[1]} channels"
    elif then != now:
        change = f"{then[2] / then[0]:.2f} s, now {now[2] / now[0]:.2f} s"
    if change:
        made = f"made from an earlier {source} ({change})"
        return made, f"{targets} files were made from earlier {sources}"
    if os.stat(source).st_mtime_ns > os.stat(target).st_mtime_ns:
        return f"older than {source}", f"{targets} files are older than their {sources}"
    return None
