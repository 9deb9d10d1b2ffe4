"""The statistics of a corpus, gathered utterance by utterance."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from audiocodec.corpus.preparing.scan import Scan
from audiocodec.corpus.utterance import Utterance

MOSTLY_SILENT = 0.95
"""An utterance with a larger share of silence counts as silent."""


class Totals:
    """The statistics of the utterances that were added."""

    def __init__(self) -> None:
        self._durations = array("d")
        self._seconds_at: defaultdict[int, float] = defaultdict(float)
        self._count_at: Counter[int] = Counter()
        self._channels: Counter[int] = Counter()
        self._speakers: Counter[str] = Counter()
        self._with_text = self._silent = self._clipped = self._clipped_samples = 0
        self._silent_seconds = 0.0
        self._first: dict[tuple[bytes, float, float | None], str] = {}
        self._duplicates: list[dict[str, str]] = []
        self._unreadable: list[dict[str, str]] = []

    def add(self, utterance: Utterance, scan: Scan) -> None:
        """Add an utterance that could be read."""
        self._durations.append(scan.duration)
        self._seconds_at[scan.sample_rate] += scan.duration
        self._count_at[scan.sample_rate] += 1
        self._channels[scan.channels] += 1
        self._speakers[utterance.speaker] += 1
        self._with_text += bool(utterance.text)
        self._silent_seconds += scan.silence * scan.duration
        self._silent += scan.silence > MOSTLY_SILENT
        self._clipped += bool(scan.clipped)
        self._clipped_samples += scan.clipped
        key = (bytes.fromhex(scan.sha256)[:16], utterance.offset, utterance.duration)
        first = self._first.setdefault(key, utterance.id)
        if first != utterance.id:
            self._duplicates.append({"id": utterance.id, "of": first})

    def add_unreadable(self, utterance: Utterance, reason: str) -> None:
        """Add an utterance that could not be read."""
        entry = {"id": utterance.id, "path": utterance.place, "reason": reason}
        self._unreadable.append(entry)

    @property
    def unreadable(self) -> list[str]:
        """A line for each utterance that could not be read."""
        return [entry["reason"] for entry in self._unreadable]

    @property
    def utterances(self) -> int:
        """How many could be read."""
        return len(self._durations)

    def as_dict(self) -> dict[str, Any]:
        """All of it. Times are in seconds, but for ``hours``."""
        durations = np.frombuffer(self._durations, np.float64)
        total = float(durations.sum())
        quantiles = np.quantile(durations, [0, 0.05, 0.5, 0.95, 1]) if len(durations) else [0.0] * 5
        names = ("shortest", "5 %", "median", "95 %", "longest")
        return {
            "utterances": self.utterances,
            "hours": total / 3600,
            "seconds": dict(zip(names, (float(value) for value in quantiles), strict=True)),
            "sample_rates": {
                str(rate): {"utterances": self._count_at[rate], "hours": seconds / 3600}
                for rate, seconds in sorted(self._seconds_at.items())
            },
            "channels": {str(count): self._channels[count] for count in sorted(self._channels)},
            "speakers": len(self._speakers.keys() - {""}),
            "without_speaker": self._speakers[""],
            "with_text": self._with_text,
            "silence": self._silent_seconds / total if total else 0.0,
            "silent_utterances": self._silent,
            "clipped_utterances": self._clipped,
            "clipped_samples": self._clipped_samples,
            "duplicates": self._duplicates,
            "unreadable": self._unreadable,
        }

    def table(self) -> str:
        """The same for a terminal, without the lists."""
        facts = self.as_dict()
        seconds = facts["seconds"]
        rates = ", ".join(
            f"{rate} Hz ({entry['utterances']}, {entry['hours']:.2f} h)"
            for rate, entry in facts["sample_rates"].items()
        )
        speakers = f"{facts['speakers']}"
        if self._speakers[""]:
            speakers += f"; unknown of {self._speakers['']} utterances"
        rows = {
            "utterances": f"{self.utterances} ({facts['hours']:.2f} h)",
            "seconds": f"{seconds['shortest']:.2f} to {seconds['longest']:.2f}, median "
            f"{seconds['median']:.2f}, 90 % within {seconds['5 %']:.2f} to {seconds['95 %']:.2f}",
            "sample rates": rates,
            "channels": ", ".join(f"{n} ({count})" for n, count in facts["channels"].items()),
            "speakers": speakers,
            "with text": f"{self._with_text}",
            "silence": f"{100 * facts['silence']:.1f} % of the time; {self._silent} utterances are "
            "nothing else",
            "clipping": f"{self._clipped} utterances, {self._clipped_samples} samples",
            "duplicates": f"{len(self._duplicates)} (same file)",
            "unreadable": f"{len(self._unreadable)}",
        }
        return "\n".join(f"{name:<13} {value}" for name, value in rows.items())
