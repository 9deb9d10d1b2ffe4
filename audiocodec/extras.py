"""Optional packages: imported when needed; a missing one is named with the extra that installs it.

The core (encode, decode, streams, files) needs none of them. ``pyproject.toml`` lists the extras.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from audiocodec.errors import CodecError


def import_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, which the extra ``extra`` installs.

    Args:
        purpose: what needs the package, as the subject of the error message, e.g. ``"PESQ"``.

    Raises:
        CodecError: the package is not installed; the message has the command that installs it.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise _missing(package, extra, purpose) from None


def import_object(path: str) -> Any:
    """The object at ``module:name``, for registries that import an entry when it is used."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def require_extra(package: str, extra: str, purpose: str) -> None:
    """Check that ``package`` is installed, without importing it.

    Args:
        extra: the extra that installs it, or ``""`` for a package that no extra installs.
        purpose: as in :func:`import_extra`.

    Raises:
        CodecError: the package is not installed; the message has the command that installs it.
    """
    if importlib.util.find_spec(package) is None:
        raise _missing(package, extra, purpose)


def _missing(package: str, extra: str, purpose: str) -> CodecError:
    install = f"'audiocodec[{extra}]'" if extra else package
    return CodecError(
        f"{purpose} needs the package {package}, which is not installed: pip install {install}"
    )


@contextlib.contextmanager
def stand_in(name: str, **attributes: object) -> Iterator[None]:
    """Make ``import name`` return a module of ``attributes``, unless it is imported already.

    For a package that imports another without need, or one that is not there any more.
    """
    if name in sys.modules:
        yield
        return
    module = ModuleType(name)
    vars(module).update(attributes)
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]


def import_transformers(purpose: str) -> ModuleType:
    """Import transformers, beside a torchaudio that does not load by itself too.

    Where torchaudio is installed, transformers imports it.

    Args:
        purpose: as in :func:`import_extra`.

    Raises:
        CodecError: transformers is not installed.
    """
    if importlib.util.find_spec("torchaudio") is not None:
        import_torchaudio()
    return import_extra("transformers", "transformers", purpose)


def import_torchaudio() -> ModuleType:
    """Import torchaudio, with or without its compiled extension.

    The wheels of torchaudio load that extension when they are imported, and fail with a CPU-only or
    a newer torch. The Python part runs without the extension, as it does in builds without it, so
    an empty module replaces it.

    Raises:
        CodecError: torchaudio is not installed.
    """
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError as error:
        if error.name == "torchaudio":
            raise CodecError(
                "torchaudio is not installed: pip install 'audiocodec[corpora]'"
            ) from None
    except (ImportError, OSError, RuntimeError):
        pass
    for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
        del sys.modules[name]
    replacement = ModuleType("torchaudio._extension")
    replacement.__dict__.update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        fail_if_no_align=lambda function: function,
        _load_lib=lambda library: False,
    )
    sys.modules["torchaudio._extension"] = replacement
    return importlib.import_module("torchaudio")
