"""Token files to code files of other formats, and back. The codes stay the same."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from audiocodec.codefiles.facts import Facts
from audiocodec.codefiles.format import read_codes
from audiocodec.codefiles.npy import FACTS
from audiocodec.codefiles.registry import FORMATS, format_of
from audiocodec.errors import CodecError
from audiocodec.paths import Report, check_distinct, find_inputs, replacing, writing
from audiocodec.results import FileResult, converted
from audiocodec.tokens import TokenFile, TokenWriter
from audiocodec.tokens.context import ContextModel
from audiocodec.tokens.header import CONTEXT, FIXED


def export_codes(
    source: str | Path,
    target: str | Path,
    num_codebooks: int | None = None,
    context: ContextModel | None = None,
) -> FileResult:
    """Write the codes of a ``.tok`` file, and what its header says, in another format.

    The target appears whole or not at all. Of a file that was cut short, the codes before the cut
    are written; the result has ``truncated`` set.

    Args:
        target: its suffix names the format: an entry of
            :data:`~audiocodec.codefiles.registry.FORMATS`.
        num_codebooks: the first ones; ``None`` for all.
        context: the context model that the codes are coded with; a bundled one is found without.

    Raises:
        CodecError: a bad source (missing, not a token file, damaged), more codebooks than it has,
            no such format, or a target that cannot be written.
    """
    started = time.perf_counter()
    target, format = Path(target), format_of(target)
    check_distinct(source, target)
    with TokenFile(source, context) as tokens:
        codes = tokens.read(num_codebooks=num_codebooks)
        sizes = tokens.header.codebook_sizes[: codes.shape[1]]
        header = dataclasses.replace(tokens.header, codebook_sizes=sizes)
        facts = Facts.of(header, tokens.num_samples)
        with replacing(target) as temporary, writing(target):
            format.write(temporary, target, codes, facts)
            file_bytes = temporary.stat().st_size
        elapsed = time.perf_counter() - started
        result = converted(tokens.path, target, header, tokens.num_samples, file_bytes, elapsed)
        return dataclasses.replace(result, bitrate=header.bitrate, truncated=tokens.truncated)


def import_codes(
    source: str | Path,
    target: str | Path,
    like: str | Path | None = None,
    coding: str | None = None,
    context: ContextModel | None = None,
) -> FileResult:
    """Write the codes of such a file to a ``.tok`` file, which appears whole or not at all.

    What :func:`export_codes` wrote becomes the token file again, byte by byte. Codes may have been
    changed: with other frames, their length is that of all frames; with fewer codebooks, they are
    the first ones.

    Args:
        source: its suffix names the format.
        like: a token file, whose facts are taken instead of those of ``source``.
        coding: ``fixed`` or ``context``; ``None`` for that of the facts.
        context: the context model of the codec that made the codes; with that of a bundled model
            it is found without, unless ``coding`` is ``context`` and the facts have another.

    Raises:
        CodecError: a bad source (missing, damaged, codes outside their codebooks, without facts),
            no context model where one is needed, or a target that cannot be written.
    """
    started = time.perf_counter()
    source = Path(source)
    check_distinct(source, target)
    codes, facts = read_codes(source)
    if like is not None:
        with TokenFile(like, context) as tokens:
            facts = Facts.of(tokens.header, tokens.num_samples)
    if facts is None:
        raise CodecError(
            f"{source}: says nothing of model and length; --like FILE.tok takes them from a token "
            "file" + (f", or put {source.name}.json back" if source.suffix == ".npy" else "")
        )
    try:
        header, num_samples = facts.header(codes), facts.length(codes)
    except CodecError as error:
        raise CodecError(f"{source}: {error}") from None
    if coding == CONTEXT and header.coding != CONTEXT and context is None:
        raise CodecError(f"{source}: context coding needs the context model of {header.model}")
    if coding == CONTEXT and context is not None:
        header = dataclasses.replace(header, coding=CONTEXT, context=context.fingerprint)
    elif coding == FIXED:
        header = dataclasses.replace(header, coding=FIXED, context="")
    with TokenWriter(target, header, context=context) as writer:
        writer.write(codes)
        writer.finish(num_samples)
    elapsed = time.perf_counter() - started
    return converted(source, writer.path, header, num_samples, writer.num_bytes, elapsed)


def find_code_files(path: str | Path, report: Report | None = None) -> list[Path]:
    """The code files in a folder and its subfolders, sorted; a file by itself.

    Args:
        report: as in :func:`~audiocodec.audio.find_audio`.

    Raises:
        CodecError: nothing at ``path``, a folder without such files, or one that cannot be listed.
    """
    found = find_inputs(path, set(FORMATS), f"no {', '.join(FORMATS)} files here", report)
    return [file for file in found if file == Path(path) or not file.name.endswith(FACTS)]
