"""The names of public corpora in a recipe: `data.corpora`, and `data.librispeech` before it."""

from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from audiocodec.training.data.corpora.table import CORPORA


def _known(name: str) -> str:
    if name not in CORPORA:
        raise ValueError(f"no public corpus is named '{name}'; there are {', '.join(CORPORA)}")
    return name


CorpusName = Annotated[str, pydantic.AfterValidator(_known)]
"""A key of `CORPORA`."""


def with_corpora(values: Any) -> Any:
    """The settings of `data` with `corpora` in place of `librispeech`, its name until 2026-11.

    Recipes and the folders of runs have `librispeech`: a list of subsets.

    Raises:
        ValueError: both are given, or `librispeech` is not a list.
    """
    if not isinstance(values, Mapping) or "librispeech" not in values:
        return values
    values = dict(values)
    subsets = values.pop("librispeech")
    if not isinstance(subsets, list | tuple):
        raise ValueError("`librispeech` is now `corpora`, e.g. [librispeech/train-clean-100, vctk]")
    names = [f"librispeech/{subset}" for subset in subsets]
    if names and values.get("corpora"):
        raise ValueError(
            f"`librispeech` is now `corpora`, and both are given; add {', '.join(names)} to "
            "`corpora`, or leave one of them out"
        )
    return values | ({"corpora": names} if names else {})
