"""The result of evaluating several models on the same files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiocodec.evaluation.metrics import METRICS
from audiocodec.evaluation.report import codebook_table, mean_tables, title_line, write_rows
from audiocodec.evaluation.result import Evaluation
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.tables import failure_lines, metric_titles


@dataclass
class Comparison:
    """Several models on the same files.

    Means are over the files that have the score for every model, so that all models are compared
    on the same files. :attr:`evaluations` and the CSV have all rows.
    """

    evaluations: list[Evaluation]

    @property
    def unreadable(self) -> dict[str, str]:
        """The reason for each file that could not be read for any model."""
        return {
            file: reason
            for evaluation in self.evaluations
            for file, reason in evaluation.unreadable.items()
        }

    @property
    def failures(self) -> list[str]:
        """The failures of all models. A failure of some models only begins with their names."""
        models: dict[str, list[str]] = {}
        for evaluation in self.evaluations:
            for line in evaluation.failures:
                models.setdefault(line, []).append(evaluation.model)
        return [
            line if len(names) == len(self.evaluations) else f"{', '.join(names)}: {line}"
            for line, names in models.items()
        ]

    def shared(self) -> dict[str, set[str]]:
        """For each metric, the files that have it for every model and number of codebooks."""
        files: dict[str, list[set[str]]] = {name: [] for name in self.evaluations[0].metrics}
        for evaluation in self.evaluations:
            for count in evaluation.num_codebooks:
                rows = [row for row in evaluation.rows if row.num_codebooks == count]
                for metric, sets in files.items():
                    sets.append({row.file for row in rows if metric in row.scores})
        return {metric: set.intersection(*sets) for metric, sets in files.items()}

    def equal_files(self) -> list[Evaluation]:
        """The evaluations with the scores of the files of :meth:`shared` only."""
        shared = self.shared()

        def keep(row: Row) -> Row:
            kept = {name: score for name, score in row.scores.items() if row.file in shared[name]}
            return replace(row, scores=kept)

        return [
            replace(evaluation, rows=list(map(keep, evaluation.rows)))
            for evaluation in self.evaluations
        ]

    def table(self) -> str:
        """Means for each model and number of codebooks, then each model's codebook usage."""
        evaluations = self.equal_files()
        models = [each for each in evaluations if not each.is_baseline]
        parts = [[title_line(each) for each in models], *mean_tables(evaluations)]
        if remarks := self.remarks():
            parts.append(remarks)
        parts += [[each.model, *codebook_table(each)] for each in models]
        if self.failures:
            parts.append(failure_lines(self.failures))
        return "\n\n".join("\n".join(part) for part in parts)

    def remarks(self) -> list[str]:
        """Lines on means over fewer files than all, different sample rates, and other codecs."""
        evaluations = self.evaluations
        if len(evaluations) == 1:
            return []
        total = len({row.file for each in evaluations for row in each.rows})
        fewer: dict[int, list[str]] = {}
        for metric, files in self.shared().items():
            if len(files) < total:
                fewer.setdefault(len(files), []).extend(metric_titles([metric]))
        lines = [
            f"{count} of {total} files have {', '.join(titles)} for every model: means over these"
            for count, titles in fewer.items()
        ]
        if len({each.sample_rate for each in evaluations}) > 1:
            lines += _rate_remark(evaluations[0].metrics)
        others = [each for each in evaluations if each.is_baseline]
        run = [each.model for each in others if each.real_time_factor("encode", 0) is not None]
        if run:
            lines.append(
                f"{', '.join(run)}: kbps of the packets; the speed includes starting programs"
            )
        if read := [each.model for each in others if each.model not in run]:
            lines.append(f"{', '.join(read)}: decoded files of a folder; kbps as stated there")
        return lines

    def write_csv(self, path: str | Path) -> None:
        """Write all rows of all models, as :meth:`Evaluation.write_csv` does.

        Raises:
            CodecError: the file cannot be written.
        """
        write_rows(self.evaluations, path)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ``models``, a list of :meth:`Evaluation.as_dict`, and all ``failures``."""
        return {
            "models": [each.as_dict() for each in self.equal_files()],
            "failures": self.failures,
        }


def _rate_remark(metrics: Sequence[str]) -> list[str]:
    """Which metrics can be compared between models of different sample rates."""
    fixed = [name for name in metrics if METRICS[name].fixed_rate]
    others = [name for name in metrics if not METRICS[name].fixed_rate]
    return [
        "The models have different sample rates, and each is compared with the input at its own.",
        f"Comparable between them: {', '.join(metric_titles(fixed)) or 'none'}",
        f"Not comparable: {', '.join(metric_titles(others)) or 'none'}",
    ]
