"""`codec info` of several files: sums for each model of token files and each rate of audio."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .facts import (
    Facts,
    Report,
    audio_facts,
    audio_sum_lines,
    token_facts,
    token_sum_facts,
    token_sum_lines,
)
from .modelfacts import model_lines
from .report import cut_short

if TYPE_CHECKING:
    from audiocodec.tokens.context import ContextModel
    from audiocodec.tokens.stats import TokenStats


@dataclass
class Summary:
    """Sums over files of each kind, which are added one by one.

    Attributes:
        each_file: collect the facts of each file in ``files`` too.
        context: the context model that token files may be coded with.
        stats: of token files, for each model.
        audio: of audio files, for each sample rate and number of channels.
        models: facts of each model.
        cut: a message for each token file that was cut short.
        failures: a message for each file that could not be read.
    """

    each_file: bool
    context: ContextModel | None = None
    files: list[Facts] = field(default_factory=list)
    stats: dict[tuple[object, ...], TokenStats] = field(default_factory=dict)
    audio: dict[tuple[int, int], Facts] = field(default_factory=dict)
    models: list[Facts] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add_tokens(self, path: Path) -> None:
        """Read, check and count a token file. CodecError if it is damaged."""
        from audiocodec.tokens import TokenFile
        from audiocodec.tokens.stats import TokenStats

        with TokenFile(path, self.context) as tokens:
            header = tokens.header
            key = (header.model, header.fingerprint, header.sample_rate, header.hop_length)
            stats = self.stats.get(key) or TokenStats.like(tokens)
            stats.add(tokens)
            self.stats[key] = stats
            if self.each_file:
                self.files.append(token_facts(tokens))
            if tokens.truncated:
                self.cut.append(cut_token_file(path))

    def add_audio(self, path: Path) -> None:
        """Count an audio file by its header. CodecError if it has none."""
        from audiocodec.tokens.rates import mean_bitrate

        facts = audio_facts(path)
        if self.each_file:
            self.files.append(facts)
        key = (facts["sample_rate"], facts["channels"])
        zero = {"sample_rate": key[0], "channels": key[1], "files": 0, "seconds": 0.0}
        total = self.audio.setdefault(key, {**zero, "file_bytes": 0, "file_bitrate": None})
        total["files"] += 1
        total["seconds"] += facts["seconds"]
        total["file_bytes"] += facts["file_bytes"]
        total["file_bitrate"] = mean_bitrate(total["file_bytes"], total["seconds"])

    def report(self) -> Report:
        """All sums, as facts and lines."""
        sums = [token_sum_facts(stats) for stats in self.stats.values()]
        audio = list(self.audio.values())
        facts = {
            "files": self.files,
            "token_files": sums,
            "audio_files": audio,
            "models": self.models,
            "failures": self.failures,
        }
        parts = [model_lines(each) for each in self.models]
        parts += [token_sum_lines(each) for each in sums]
        parts += [audio_sum_lines(each) for each in audio]
        lines = [line for part in parts for line in ["", *part]][1:]
        return Report(facts, lines, self.cut + [f"error: {failure}" for failure in self.failures])


def cut_token_file(path: object) -> str:
    """The warning for a token file that was cut short."""
    return f"{cut_short(path)}; the rest of it is missing"
