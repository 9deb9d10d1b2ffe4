"""The metrics of an evaluation: which ones, and whether they can be computed here."""

from __future__ import annotations

import os
from collections.abc import Sequence

from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics.registry import METRICS, Metric
from audiocodec.extras import require_extra


def select_metrics(names: Sequence[str] = ()) -> dict[str, Metric]:
    """The metrics that are always computed and the optional ones in ``names``, in table order.

    A name is that of a metric or of a group of metrics.

    Raises:
        CodecError: a name that is not registered.
    """
    choices = [metric.group or name for name, metric in METRICS.items()]
    for name in names:
        if name not in METRICS and name not in choices:
            raise CodecError(
                f"metric {name}: does not exist; choose from {', '.join(dict.fromkeys(choices))}"
            )
    return {
        name: metric
        for name, metric in METRICS.items()
        if not metric.optional or name in names or metric.group in names
    }


def check_installed(purpose: str, names: Sequence[str] = ()) -> None:
    """Raise :class:`CodecError` if a package or a folder that the metrics need is missing.

    Args:
        purpose: the subject of the error message, e.g. ``"codec evaluate"``.
        names: optional metrics, as in :func:`select_metrics`.
    """
    for metric in select_metrics(names).values():
        if metric.package:
            subject = metric.title if metric.optional else purpose
            require_extra(metric.package, metric.extra, subject)
        if metric.folder_variable:
            named_folder(metric.folder_variable, metric.title)
    require_extra("joblib", "eval", purpose)


def named_folder(variable: str, purpose: str) -> str:
    """The folder that an environment variable names.

    Raises:
        CodecError: the variable is not set, or names no folder.
    """
    folder = os.environ.get(variable, "")
    if not folder:
        raise CodecError(f"{purpose}: needs a model; set the variable {variable} to its folder")
    if not os.path.isdir(folder):
        raise CodecError(f"{variable}={folder}: is no folder; set it to that of the model")
    return folder
