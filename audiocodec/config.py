"""The base of every configuration class: typed, frozen, strict, and read from YAML or JSON.

A class that needs settings declares them beside itself as a subclass of :class:`Config`. An unknown
key, a wrong type or a value out of bounds is refused before anything runs, in one line that names
the key and, for a misspelling, the nearest key there is.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, get_args

import pydantic
import yaml

from audiocodec.errors import CodecError


class Config(pydantic.BaseModel):
    """Frozen settings: unknown keys are refused, every field is typed, defaulted and bounded."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str = "config") -> Self:
        """Check ``values`` against this class.

        Raises:
            CodecError: naming ``source``, the dotted key, what is wrong and what would be right.
        """
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise CodecError(f"{source}: {_explain(cls, error)}") from None

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Iterable[str] = ()) -> Self:
        """Read a YAML file, apply ``a.b=value`` overrides, and check the result.

        Raises:
            CodecError: the file or its `base` is missing or no YAML mapping, an override is
                malformed, or a key or value is refused.
        """
        values = read_with_base(path)
        for override in overrides:
            apply_override(values, override)
        return cls.from_mapping(values, source=str(path))

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys that this class has, sorted."""
        return sorted(cls.model_fields)

    def to_yaml(self) -> str:
        """The settings, every default written out, as YAML that :meth:`from_yaml` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats: ``1e-4`` is a number, not a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)$"),
    list("-+0123456789."),
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        CodecError: missing, unreadable, not YAML, or not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = yaml.load(text, _Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise CodecError(f"{path}: cannot be read ({reason})") from None
    except (yaml.YAMLError, ValueError) as error:  # a date with a 13th month is a ValueError
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        raise CodecError(
            f"{path}: not valid YAML{line}: {getattr(error, 'problem', error)}"
        ) from None
    if not isinstance(values, dict):
        raise CodecError(f"{path}: expected `key: value` lines, found {type(values).__name__}")
    return values


def read_with_base(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, laid over that of the file that its ``base`` names, if any.

    ``base`` is relative to the file. Keys within keys are merged; any other value replaces. A base
    has no base of its own, so that two files are enough to read.

    Raises:
        CodecError: as :func:`read_yaml`, for either file, or ``base`` is no path or has a base.
    """
    values = read_yaml(path)
    if "base" not in values:
        return values
    base = values.pop("base")
    if not isinstance(base, str):
        raise CodecError(f"{path}: `base` is the path of another file, not {base!r}")
    lower = read_yaml(Path(path).parent / base)
    if "base" in lower:
        raise CodecError(f"{path}: its base {base} has a base itself; name that one")
    return _merge(lower, values)


def _merge(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """``upper`` laid over ``lower``, level by level."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            value = _merge(below, value)
        merged[key] = value
    return merged


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set the dotted key of ``a.b=value`` in nested ``values``; the value is read as YAML.

    Raises:
        CodecError: no ``=``, no key, or a value on the way that has no keys of its own.
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise CodecError(f"--set {override}: write it as key=value, e.g. --set data.root=/speech")
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError):  # a date with a 13th month is a ValueError
        raise CodecError(f"--set {override}: the value is not valid YAML; quote it") from None
    for part in parts[:-1]:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise CodecError(
                f"--set {override}: `{part}` is a plain value, it has no keys of its own"
            )
        values = inner
    values[parts[-1]] = value


def _explain(cls: type[Config], error: pydantic.ValidationError) -> str:
    """The first error of pydantic in one plain line."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the whole"
    if first["type"] == "extra_forbidden":
        known = _known_keys(cls, first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
        remedy = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key `{key}`; {remedy}"
    if first["type"] == "missing":
        return f"`{key}` is required"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    given = first.get("input")
    shown = "" if isinstance(given, dict) or first["type"] == "value_error" else f", not {given!r}"
    return f"`{key}`: {message}{shown}{more}"


def _known_keys(cls: type[Config], location: tuple[int | str, ...]) -> list[str]:
    """The keys that the config class at the parent of ``location`` has."""
    current: type[Config] = cls
    for part in location[:-1]:
        field = current.model_fields.get(str(part))
        if field is None:
            continue
        candidates = [field.annotation, *get_args(field.annotation)]
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, Config):
                current = candidate
    return current.known_keys()
