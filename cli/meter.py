"""Level and speed of a live stream, on stderr."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from .options import quiet

if TYPE_CHECKING:
    from audiocodec.audio import Samples

METER_SECONDS = 0.1
"""Time between two updates."""


@dataclass
class Meter:
    """Counts what passes through a stream, and shows it in a line if stderr is a terminal.

    ``samples_in`` and ``samples_out`` are per channel; ``latency`` and times are in seconds.
    """

    sample_rate: int
    latency: float = 0.0
    samples_in: int = 0
    samples_out: int = 0
    chunks: int = 0
    busy: float = 0.0
    slowest: float = 0.0
    shown: float = field(default_factory=time.perf_counter)

    def add(self, chunk: Samples, samples_out: int, elapsed: float) -> None:
        """Count a chunk ``[C, n]`` that was processed in ``elapsed`` seconds."""
        self.samples_in += chunk.shape[1]
        self.samples_out += samples_out
        self.chunks += 1
        self.busy += elapsed
        self.slowest = max(self.slowest, elapsed)
        now = time.perf_counter()
        if sys.stderr.isatty() and not quiet() and now - self.shown >= METER_SECONDS:
            self.shown = now
            level = decibels(float((chunk**2).mean()) if chunk.size else 0.0)
            bar = "#" * max(0, round((level + 60) / 3))
            click.echo(
                f"\r[{bar:20}] {level:4.0f} dB, {self.speed:5.1f}x real time ", err=True, nl=False
            )

    def close(self) -> None:
        """End the line."""
        if sys.stderr.isatty() and not quiet():
            click.echo("", err=True)

    @property
    def speed(self) -> float:
        """Seconds of audio per second of computing. Below 1 the codec is too slow to be live."""
        return self.samples_in / self.sample_rate / max(self.busy, 1e-9)

    def summary(self) -> str:
        return (
            f"{self.samples_in / self.sample_rate:.2f} s in {self.chunks} pieces, "
            f"{self.speed:.1f}x real time, the slowest piece {1000 * self.slowest:.1f} ms; "
            f"latency {1000 * self.latency:.0f} ms, without that of the audio devices"
        )


def decibels(power: float) -> float:
    """Mean square of samples in [-1, 1] -> dB of full scale, at least -60."""
    return max(-60.0, 10 * math.log10(max(power, 1e-9)))
