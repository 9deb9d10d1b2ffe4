"""Evaluate codecs on files.

``run`` encodes and decodes files (``coding``) and scores them (``scoring``). ``metrics`` has the
registry of metrics. ``result`` and ``comparison`` hold the results of one and of several models.
``pairs`` scores files that any other codec decoded, and ``baselines`` runs some. ``page`` shows
a result as HTML, ``differences`` compares results, and ``inspection`` looks at one recording.

The names below are imported at first use, so that the command line can list the metrics without
importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiocodec.evaluation.coding import warm_up
    from audiocodec.evaluation.comparison import Comparison
    from audiocodec.evaluation.inspection import inspect_file, plot_file
    from audiocodec.evaluation.metrics import METRICS, Metric, ScoreError
    from audiocodec.evaluation.pairs import PairScores, score_files
    from audiocodec.evaluation.result import Evaluation
    from audiocodec.evaluation.rows import Mean, Row
    from audiocodec.evaluation.run import compare, default_num_codebooks, evaluate
    from audiocodec.evaluation.scoring import score_pair

# public name -> the module of this package that defines it
_MODULES = {
    "METRICS": "metrics",
    "Comparison": "comparison",
    "Evaluation": "result",
    "Mean": "rows",
    "Metric": "metrics",
    "PairScores": "pairs",
    "Row": "rows",
    "ScoreError": "metrics",
    "compare": "run",
    "default_num_codebooks": "run",
    "evaluate": "run",
    "inspect_file": "inspection",
    "plot_file": "inspection",
    "score_files": "pairs",
    "score_pair": "scoring",
    "warm_up": "coding",
}

__all__ = [
    "METRICS",
    "Comparison",
    "Evaluation",
    "Mean",
    "Metric",
    "PairScores",
    "Row",
    "ScoreError",
    "compare",
    "default_num_codebooks",
    "evaluate",
    "inspect_file",
    "plot_file",
    "score_files",
    "score_pair",
    "warm_up",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
