"""Existing outputs that were made from token files alone: are they what would be made now?"""

from __future__ import annotations

import os
from pathlib import Path

from audiocodec.batch.report import OutputDiffers
from audiocodec.tokens import TokenFile, TokenHeader
from audiocodec.tokens.context import ContextModel


def check_rewritten(
    target: str | Path,
    header: TokenHeader,
    num_samples: int,
    context: ContextModel | None = None,
) -> None:
    """Raise :class:`~audiocodec.batch.report.OutputDiffers` if the token file ``target`` has
    another header or length than ``header`` and ``num_samples``, or was cut short.

    Raises:
        CodecError: the file cannot be read.
    """
    with TokenFile(target, context) as tokens:
        if tokens.truncated or (tokens.header, tokens.num_samples) != (header, num_samples):
            found = "is there already, with other contents"
            files = "files are there already, with other contents"
            raise OutputDiffers(target, found, files, "replaces {}")


def check_newer(target: str | Path, source: str | Path) -> None:
    """Raise :class:`~audiocodec.batch.report.OutputDiffers` if ``source`` is the newer file."""
    if os.stat(source).st_mtime_ns > os.stat(target).st_mtime_ns:
        one = f"older than {source}"
        raise OutputDiffers(target, one, "files are older than their sources", "makes {} again")
