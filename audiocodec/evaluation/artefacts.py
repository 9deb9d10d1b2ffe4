"""What scores do not show, as tables: noise, tones, clicks, silence, offsets, levels, lines.

:mod:`probes` makes the signals and measures one; this module measures several codecs on many. A
line is a spectral line at a multiple of a rate of the decoder's levels, from 1 kHz on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from audiocodec.errors import CodecError
from audiocodec.evaluation.alignment import align
from audiocodec.evaluation.metrics import ScoreError
from audiocodec.evaluation.metrics.lines import line_strengths, long_term_powers
from audiocodec.evaluation.metrics.pesq import pesq_wb
from audiocodec.evaluation.metrics.signal import SPEECH_RATE, resample_pair
from audiocodec.evaluation.metrics.stoi import stoi
from audiocodec.evaluation.metrics.voicing import Where
from audiocodec.evaluation.probes import (
    NOISES,
    Audio,
    at_level,
    clicks,
    decibels,
    level_change,
    modulation,
    noise,
    rms,
    tone,
)

Pairs = Sequence[tuple[Audio, Audio]]  # reconstructions and references
TONES = (125, 250, 500, 1000, 2000, 4000)  # Hz
TONE_LEVEL = -20.0  # dBFS
OFFSETS = (0.0, 0.01, 0.03, 0.1)
LEVELS = (-40, -30, -20, -10)  # dBFS


@dataclass(frozen=True)
class Subject:
    """A codec at one bitrate.

    Attributes:
        name: in the tables.
        code: encodes and decodes a signal ``[T]``, which keeps its length.
    """

    name: str
    code: Callable[[Audio], Audio]


@dataclass
class Table:
    """A table of cells, and what its columns mean."""

    title: str
    head: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def markdown(self) -> str:
        """The title and the table."""
        lines = [self.head, ["--"] * len(self.head), *self.rows]
        return "\n".join([self.title, "", *(f"| {' | '.join(line)} |" for line in lines)])


def silence_table(subjects: Sequence[Subject], sample_rate: int) -> Table:
    """Level of decoded silence, tones and clicks."""
    table = Table(
        f"Silence, clicks of one sample, and tones of {TONE_LEVEL:g} dBFS: the level of what is "
        "decoded, the share of a click's peak that is left, and the change of a tone's level.",
        ["system", "silence, dBFS", "clicks", *(f"{each} Hz, dB" for each in TONES)],
    )
    given = {f: tone(f, TONE_LEVEL, 2.0, sample_rate) for f in TONES if f < sample_rate / 2}
    impulses = clicks(0.5, 2.0, sample_rate)
    for subject in subjects:
        silence = subject.code(np.zeros(5 * sample_rate, np.float32))
        share = np.abs(subject.code(impulses)).max() / np.abs(impulses).max()
        changes = [
            f"{level_change(subject.code(signal), signal, sample_rate, 0.97 * f, 1.03 * f):+.1f}"
            for f, signal in given.items()
        ]
        changes += ["-"] * (len(TONES) - len(changes))
        table.rows.append([subject.name, f"{decibels(rms(silence)):.0f}", f"{share:.2f}", *changes])
    return table


def noise_table(
    subjects: Sequence[Subject],
    sample_rate: int,
    hop_length: int,
    rates: Sequence[int],
    levels: Sequence[float] = (-30.0,),
    clips: int = 6,
) -> Table:
    """Lines, modulation and level of steady noise.

    Args:
        hop_length: of the frames at whose rate the envelope is examined.
        rates: of the lines, in Hz.
        levels: of the noise, in dBFS.
        clips: of 10 s, of each kind.
    """
    table = Table(
        f"Steady noise, {clips} clips of 10 s of each kind. Lines: mean over the multiples, the "
        "largest in brackets, then the mean in the original. Steady noise has a modulation depth "
        "of 0.2 to 0.5 dB, and no line in its envelope.",
        [
            *("noise", "dBFS", "system"),
            *(f"lines {rate} Hz apart, dB" for rate in rates),
            *("modulation depth, dB", "line in the envelope, dB"),
            *("level, dB", "level above 7 kHz, dB"),
        ],
    )
    for kind in NOISES:
        for level in levels:
            given = [noise(kind, level, 10.0, sample_rate, seed) for seed in range(clips)]
            for subject in subjects:
                pairs = [(subject.code(clip), clip) for clip in given]
                found = [modulation(after[sample_rate:], hop_length) for after, _ in pairs]
                top = SPEECH_RATE / 2
                changes = [
                    np.mean([level_change(*pair, sample_rate, low, top) for pair in pairs])
                    for low in (0, 7000)
                ]
                table.rows.append(
                    [
                        f"{kind} ({clips})",
                        f"{level:g}",
                        subject.name,
                        *_line_cells(pairs, "all", rates, sample_rate),
                        f"{np.mean([each.depth for each in found]):.1f}",
                        f"{np.mean([each.line for each in found]):.1f}",
                        *(f"{change:+.1f}" for change in changes),
                    ]
                )
    return table


def clip_tables(
    subjects: Sequence[Subject],
    sets: Mapping[str, Sequence[Audio]],
    sample_rate: int,
    rates: Sequence[int],
) -> list[Table]:
    """Offset, level and peak of recordings, and their lines in voiced frames and pauses."""
    levels = Table(
        "Offset, level and peak of recordings.",
        ["clips", "system", "largest offset, dBFS", "level change, dB", "largest sample in, out"],
    )
    lines = Table(
        "Lines in recordings: mean over the multiples, the largest in brackets, then the mean in "
        "the original.",
        ["clips", "system", "frames", *(f"lines {rate} Hz apart, dB" for rate in rates)],
    )
    for name, clips in sets.items():
        for subject in subjects:
            pairs = [(subject.code(clip), clip) for clip in clips]
            offset = max(decibels(abs(float(after.mean()))) for after, _ in pairs)
            changes = [decibels(rms(after)) - decibels(rms(before)) for after, before in pairs]
            largest = [max(float(np.abs(pair[i]).max()) for pair in pairs) for i in (1, 0)]
            label = [f"{name} ({len(pairs)})", subject.name]
            levels.rows.append(
                [
                    *label,
                    f"{offset:.0f}",
                    f"{min(changes):+.1f} to {max(changes):+.1f}",
                    f"{largest[0]:.2f}, {largest[1]:.2f}",
                ]
            )
            kinds: tuple[Where, ...] = ("voiced", "pauses")
            for where in kinds:
                cells = _line_cells(pairs, where, rates, sample_rate)
                lines.rows.append([*label, where, *cells])
    return [levels, lines]


def offset_table(subjects: Sequence[Subject], clips: Sequence[Audio], sample_rate: int) -> Table:
    """PESQ of clips that are coded with an offset, against the clips without it."""
    table = Table(
        "Recordings with an offset, against the recordings without it.",
        ["system", *(f"PESQ-WB, offset {offset:g}" for offset in OFFSETS)],
    )
    for subject in subjects:
        means = []
        for offset in OFFSETS:
            coded = [(subject.code(clip + np.float32(offset)), clip) for clip in clips]
            scores = _scores(coded, sample_rate, pesq_wb)
            means.append(f"{np.mean(scores):.2f}" if scores else "-")
        table.rows.append([subject.name, *means])
    return table


def level_table(subjects: Sequence[Subject], clips: Sequence[Audio], sample_rate: int) -> Table:
    """Scores of clips that are scaled to several input levels."""
    table = Table(
        "Recordings at several levels.",
        ["input level, dBFS", "system", "PESQ-WB", "STOI", "output level against input, dB"],
    )
    for level in LEVELS:
        given = [at_level(clip, level) for clip in clips]
        for subject in subjects:
            pairs = [(subject.code(clip), clip) for clip in given]
            changes = [decibels(rms(after)) - decibels(rms(before)) for after, before in pairs]
            pesq, intelligibility = (_scores(pairs, sample_rate, f) for f in (pesq_wb, stoi))
            table.rows.append(
                [
                    str(level),
                    subject.name,
                    f"{np.mean(pesq):.2f}" if pesq else "-",
                    f"{np.mean(intelligibility):.3f}" if intelligibility else "-",
                    f"{min(changes):+.2f} to {max(changes):+.2f}",
                ]
            )
    return table


def _scores(
    pairs: Pairs, sample_rate: int, score: Callable[[Audio, Audio, int], float]
) -> list[float]:
    """The scores of the pairs that have one, after a delay is removed."""
    found = []
    for after, before in pairs:
        try:
            found.append(score(*align(after, before, sample_rate)[:2], sample_rate))
        except ScoreError:
            continue
    return found


def _line_cells(pairs: Pairs, where: Where, rates: Sequence[int], sample_rate: int) -> list[str]:
    """For each rate, `mean (largest), mean in the original` of the lines in dB."""
    try:
        both = [resample_pair(*pair, sample_rate) for pair in pairs]
        powers = long_term_powers(both, where)
        found, before = ([line_strengths(power, rate) for rate in rates] for power in powers)
    except CodecError as error:
        return [str(error)] * len(rates)
    return [
        f"{lines.mean():+.1f} ({lines.max():+.1f}), {original.mean():+.1f}"
        for lines, original in zip(found, before, strict=True)
    ]
