"""A token file rewritten with fewer codebooks or another coding. Audio is not touched."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from audiocodec.errors import CodecError
from audiocodec.paths import check_distinct
from audiocodec.progress import Progress
from audiocodec.results import FileResult, rewritten
from audiocodec.tokens import TokenFile, TokenHeader, TokenWriter
from audiocodec.tokens.context import ContextModel
from audiocodec.tokens.copying import copy_codes
from audiocodec.tokens.header import CONTEXT, FIXED, held_codebooks


def transcode_file(
    source: str | Path,
    target: str | Path,
    num_codebooks: int | None = None,
    coding: str | None = None,
    context: ContextModel | None = None,
    progress: Progress | None = None,
    fingerprint: str | None = None,
) -> FileResult:
    """Rewrite a ``.tok`` file, which appears whole or not at all. Its codes stay the same.

    A file that was cut short becomes a whole file up to the cut; the result has ``truncated`` set.

    Args:
        num_codebooks: keep the first ones; ``None`` for all.
        coding: ``fixed`` or ``context``; ``None`` for that of ``source``.
        context: the context model of the codec that made the codes. It is needed for ``context``
            coding; to read such a file of a bundled model it is found without.
        progress: called now and then with the seconds of audio since the last call.
        fingerprint: of the codec that ``context`` belongs to. Codes of another codec are not coded
            with it; ``None`` leaves that to the caller.

    Raises:
        CodecError: a bad source (missing, not a token file, damaged), more codebooks than it has,
            no context model where one is needed or that of another codec, or a target that cannot
            be written.
    """
    started = time.perf_counter()
    check_distinct(source, target)
    with TokenFile(source, context) as tokens:
        header = transcoded(tokens, num_codebooks, coding, context, fingerprint)
        result = rewrite(tokens, target, header, context, progress)
    return dataclasses.replace(result, elapsed=time.perf_counter() - started)


def rewrite(
    tokens: TokenFile,
    target: str | Path,
    header: TokenHeader,
    context: ContextModel | None,
    progress: Progress | None = None,
) -> FileResult:
    """Write the codes of ``tokens`` with the codebooks and the coding of ``header``.

    ``header`` may have another length of blocks, and ``target`` be the file itself. The other
    arguments are those of :func:`transcode_file`.

    Raises:
        CodecError: a damaged block, or a target that cannot be written.
    """
    started = time.perf_counter()
    with TokenWriter(target, header, context=context) as writer:
        copy_codes(tokens, writer, progress)
        writer.finish(tokens.num_samples)
    return rewritten(tokens, writer, time.perf_counter() - started)


def transcoded(
    tokens: TokenFile,
    num_codebooks: int | None,
    coding: str | None,
    context: ContextModel | None,
    fingerprint: str | None = None,
) -> TokenHeader:
    """The header of the file as :func:`transcode_file` is to write it.

    Raises:
        CodecError: as there.
    """
    header, path = tokens.header, tokens.path
    count = held_codebooks(header, num_codebooks, path)
    coding = coding or header.coding
    if coding == CONTEXT and context is None:
        raise CodecError(
            f"{path}: context coding needs the context model of {header.model}; name the folder "
            "of that model with --model, in Python with context="
        )
    coded_with_it = context is not None and header.context == context.fingerprint
    if coding == CONTEXT and not coded_with_it and fingerprint not in (None, header.fingerprint):
        raise CodecError(
            f"{path}: codes of model {header.model} ({header.fingerprint}), and the context model "
            f"is one of {fingerprint}; name the model that made the codes with --model"
        )
    return dataclasses.replace(
        header,
        codebook_sizes=header.codebook_sizes[:count],
        coding=coding,
        context=context.fingerprint if coding != FIXED and context else "",
    )
