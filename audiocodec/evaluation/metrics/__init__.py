"""Metrics: one module for each, and the registry that lists them.

Importing this package is quick; a metric's module and its packages are imported at first use.
"""

from audiocodec.evaluation.metrics.registry import METRICS, Metric, ScoreError
from audiocodec.evaluation.metrics.selection import check_installed, select_metrics

__all__ = ["METRICS", "Metric", "ScoreError", "check_installed", "select_metrics"]
