"""The registry of metrics. Tables, CSV, JSON and the command line take names and titles from here.

To add a metric, write one function and register it::

    def snr(reconstruction, reference, sample_rate):
        noise = reference - reconstruction
        return 10 * math.log10(np.sum(reference**2) / np.sum(noise**2))

    METRICS["snr"] = Metric(snr, title="SNR dB", format=".1f")

This module imports neither NumPy nor torch, so that ``codec evaluate --help`` answers at once. The
metrics of this package are therefore registered by import path.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from audiocodec.errors import CodecError

if TYPE_CHECKING:
    from audiocodec.evaluation.metrics.signal import Signal

    MetricFunction = Callable[..., float]  # of Signal, Signal, int and `arguments`


class ScoreError(CodecError):
    """This pair of signals has no score; the message is the reason."""


@dataclass(frozen=True)
class Metric:
    """A score of one channel of a reconstruction against its reference.

    Args:
        function: ``(reconstruction, reference, sample_rate) -> float``. The signals are float
            arrays ``[T]`` of equal length in [-1, 1], the sample rate is in Hz. It raises
            :class:`ScoreError` for signals that have no score. A string ``"module:function"`` is
            imported at first use.
        title: of the metric's column in tables, with the unit.
        format: of a score in tables, as in :func:`format`.
        better: whether a ``"higher"`` or a ``"lower"`` score is better, or neither (``""``).
        fixed_rate: the function resamples both signals to one sample rate, so models of different
            sample rates can be compared.
        aligned: compute the score after a delay of up to 50 ms is removed.
        optional: compute the score only if the metric is requested by name.
        package: the optional package that the function imports.
        extra: the extra of audiocodec that installs ``package``.
        arguments: keyword arguments of the function, of a score with several columns.
        group: a name that requests all metrics of the group.
        folder_variable: the environment variable that names a folder that the function needs.
    """

    function: str | MetricFunction
    title: str
    format: str = ".2f"
    better: str = "higher"
    fixed_rate: bool = False
    aligned: bool = True
    optional: bool = False
    package: str = ""
    extra: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    folder_variable: str = ""

    def __call__(self, reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
        function = self.function
        if isinstance(function, str):
            function = pkgutil.resolve_name(function)
        return float(function(reconstruction, reference, sample_rate, **self.arguments))


METRICS: dict[str, Metric] = {
    "pesq_wb": Metric(
        "audiocodec.evaluation.metrics.pesq:pesq_wb",
        title="PESQ-WB",
        format=".2f",
        fixed_rate=True,
        package="pesq",
        extra="eval",
    ),
    "stoi": Metric(
        "audiocodec.evaluation.metrics.stoi:stoi",
        title="STOI",
        format=".3f",
        fixed_rate=True,
        package="pystoi",
        extra="eval",
    ),
    "si_sdr": Metric(
        "audiocodec.evaluation.metrics.si_sdr:si_sdr",
        title="SI-SDR dB",
        format=".1f",
    ),
    "si_sdr_raw": Metric(
        "audiocodec.evaluation.metrics.si_sdr:si_sdr",
        title="unaligned",
        format=".1f",
        aligned=False,
    ),
    "log_mel_distance": Metric(
        "audiocodec.evaluation.metrics.log_mel:log_mel_distance",
        title="log-mel dB",
        format=".2f",
        better="lower",
        package="librosa",
        extra="eval",
    ),
    "distill_mos": Metric(
        "audiocodec.evaluation.metrics.distill_mos:distill_mos",
        title="DistillMOS",
        format=".2f",
        fixed_rate=True,
        optional=True,
        package="distillmos",
        extra="mos",
    ),
    **{
        f"dnsmos_{name}": Metric(
            "audiocodec.evaluation.metrics.dnsmos:dnsmos",
            title=f"DNSMOS {title}",
            fixed_rate=True,
            optional=True,
            package="speechmos",
            extra="dnsmos",
            arguments={"score": score},
            group="dnsmos",
        )
        for name, title, score in (
            ("overall", "overall", "ovrl_mos"),
            ("speech", "speech", "sig_mos"),
            ("background", "noise", "bak_mos"),
            ("p808", "P.808", "p808_mos"),
        )
    },
    "visqol": Metric(
        "audiocodec.evaluation.metrics.visqol:visqol",
        title="ViSQOL",
        fixed_rate=True,
        optional=True,
        package="visqol",
        extra="visqol",
    ),
    "speaker_similarity": Metric(
        "audiocodec.evaluation.metrics.speaker:speaker_similarity",
        title="speaker",
        format=".3f",
        fixed_rate=True,
        optional=True,
        package="resemblyzer",
        extra="speaker",
    ),
    "word_errors": Metric(
        "audiocodec.evaluation.metrics.words:word_errors",
        title="word errors %",
        format=".1f",
        better="lower",
        fixed_rate=True,
        optional=True,
        package="faster_whisper",
        extra="asr",
        folder_variable="AUDIOCODEC_WHISPER",
    ),
    **{
        name: Metric(
            f"audiocodec.evaluation.metrics.pitch:{name}",
            title=title,
            format=".1f",
            better="lower",
            fixed_rate=True,
            optional=True,
            package="librosa",
            extra="eval",
            group="pitch",
        )
        for name, title in {
            "f0_error": "F0 cents",
            "gross_pitch_error": "gross F0 %",
            "voicing_error": "voicing %",
        }.items()
    },
    **{
        f"{kind}_{name}": Metric(
            f"audiocodec.evaluation.metrics.bands:band_{kind}",
            title=f"{title} {name.replace('_', '-')} dB",
            format=signed,
            better="lower" if kind == "error" else "",
            fixed_rate=True,
            optional=True,
            package="librosa",
            extra="eval",
            arguments={"low": low, "high": high},
            group="bands",
        )
        for kind, title, signed in (("error", "err", ".2f"), ("level", "level", "+.2f"))
        for name, low, high in (
            ("0_1k", 0, 1000),
            ("1_2k", 1000, 2000),
            ("2_4k", 2000, 4000),
            ("4_8k", 4000, 8000),
        )
    },
    **{
        f"lines_{spacing}_{name}": Metric(
            "audiocodec.evaluation.metrics.lines:lines",
            title=f"{spacing} Hz {name}",
            format="+.1f",
            better="",
            fixed_rate=True,
            optional=True,
            package="librosa",
            extra="eval",
            arguments={"spacing": spacing, "where": where, "largest": name == "largest"},
            group="lines",
        )
        for name, where in (("voiced", "voiced"), ("largest", "voiced"), ("pauses", "pauses"))
        for spacing in (50, 400, 2000)
    },
}
"""All metrics by name, in the order of the columns of tables."""
