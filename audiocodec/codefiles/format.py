"""The contract of a format of code files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from audiocodec.codefiles.facts import Facts
from audiocodec.codefiles.registry import format_of
from audiocodec.errors import CodecError
from audiocodec.paths import check_file
from audiocodec.tokens.packing import Codes, code_array


class CodeFormat(Protocol):
    """How codes and facts are written to a file of another program, and read."""

    def write(self, path: Path, target: Path, codes: Codes, facts: Facts) -> None:
        """Write ``codes [C, K, F]`` and ``facts`` to ``path``, an empty temporary file.

        Args:
            target: what ``path`` will be called.
        """

    def read(self, path: Path) -> tuple[Any, Mapping[str, Any] | None]:
        """Codes, ``[C, K, F]`` or ``[K, F]``, and the facts; ``None`` where the file has none.

        Raises:
            CodecError, OSError, ValueError, KeyError, EOFError: missing or damaged, or of another
                kind.
        """


def read_codes(path: Path) -> tuple[Codes, Facts | None]:
    """Codes int64 ``[C, K, F]`` and facts of a file.

    Raises:
        CodecError: missing, damaged, without codes, or of a format that there is not.
    """
    format, suffix = format_of(path), path.suffix.lower()
    check_file(path, suffix)
    with _reading(path, suffix):
        codes, facts = format.read(path)
        array = code_array(codes)
    return array, None if facts is None else Facts.from_mapping(facts, source=str(path))


@contextmanager
def _reading(path: Path, suffix: str) -> Iterator[None]:
    """Errors name the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise CodecError(f"{error.filename}: no such file") from None
    except CodecError as error:
        raise CodecError(f"{path}: {error}") from None
    except KeyError as error:
        raise CodecError(f"{path}: has no {error.args[0]}; codec export-codes writes it") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines() or ["empty"]
        raise CodecError(f"{path}: cannot be read as {suffix} ({reason[0]})") from None
