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
