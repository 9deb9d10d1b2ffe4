"""Pictures of audio and of its codes, for the demo, `codec plot`, reports and TensorBoard.

Nothing here imports pyplot: its backend (``MPLBACKEND``) may be one that cannot be loaded.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.extras import import_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Signal = NDArray[np.floating]
COLUMNS = 2400
"""Of a drawn waveform: a longer one is drawn as its least and greatest sample in each of these."""


BESIDE = 4
"""Spectrograms in a row."""


@dataclass(frozen=True)
class Coding:
    """What :func:`draw_coding` draws of one channel of a coded recording.

    Attributes:
        title: above the picture.
        sample_rate: of both signals, in Hz.
        hop_length: samples per frame.
        start: where the signals and codes begin in the recording, in seconds.
        codes: integers ``[K, F]``.
        codebook_sizes: entries of each of the ``K`` codebooks.
        bits: for each way of writing the codes, the bits of each frame, ``[F]``.
        reconstruction: ``[T]`` in [-1, 1].
        reference: likewise, or None if it is not at hand.
        errors: distance of the two in each window of ``error_hop`` seconds, in dB, or None.
    """

    title: str
    sample_rate: int
    hop_length: int
    codes: NDArray[np.integer]
    codebook_sizes: tuple[int, ...]
    reconstruction: Signal
    reference: Signal | None = None
    bits: Mapping[str, Signal] = field(default_factory=dict)
    errors: Signal | None = None
    error_hop: float = 0.016
    start: float = 0.0


def draw_spectrograms(signals: Mapping[str, Signal], sample_rate: int) -> "Figure":
    """One spectrogram ``[T]`` for each title, four in a row, in the order given.

    Frequency axes and the colour scale (0 to -80 dB under the loudest point of the first signal,
    the reference) are shared, so that what is missing looks missing. The figure belongs to the
    caller and to no window: save it with ``figure.savefig(path)``.
    """
    spectra = [_spectrum(signal, sample_rate) for signal in signals.values()]
    columns = min(max(1, len(spectra)), BESIDE)
    rows = max(1, -(-len(spectra) // columns))
    figure, grid = subplots(rows, columns, (4.2 * columns, 3.6 * rows), sharey=True)
    panels: list[Axes] = grid.ravel().tolist()
    image = None
    for panel, title, spectrum in zip(panels, signals, spectra, strict=False):
        image = _show_spectrum(panel, spectrum, sample_rate, spectra[0])
        panel.set_title(title, fontsize=10, parse_math=False)
        panel.set_xlabel("s")
        panel.set_ylabel("Hz" if panel in panels[::columns] else "")
    for panel in panels[len(spectra) :]:
        panel.set_visible(False)
    if image is not None:
        figure.colorbar(image, ax=grid[:, -1].tolist(), format="%d dB")
    return figure


def draw_coding(coding: Coding) -> "Figure":
    """Waveform, spectrograms, codes, bits per frame and error per frame, above one another.

    All panels share the time axis. What is not known has no panel. The codes are a map: a row for
    each codebook, the first at the top, a column for each frame; the colour is the entry's number.
    """
    signals = {"reference": coding.reference, "reconstruction": coding.reconstruction}
    known = {name: signal for name, signal in signals.items() if signal is not None}
    parts = [1.0, *[1.6] * len(known), max(1.0, 0.12 * len(coding.codes)), 1.0]
    parts += [1.0] if coding.errors is not None else []
    size = (11.0, 1.15 * sum(parts) + 0.8)
    figure, grid = subplots(len(parts), 1, size, sharex=True, height_ratios=parts)
    figure.suptitle(coding.title, fontsize=11, parse_math=False)
    panels = iter(grid[:, 0])
    _show_waveforms(next(panels), known, coding)
    spectra = [_spectrum(signal, coding.sample_rate) for signal in known.values()]
    for name, spectrum in zip(known, spectra, strict=True):
        panel = next(panels)
        image = _show_spectrum(panel, spectrum, coding.sample_rate, spectra[0], coding.start)
        panel.set_ylabel(f"{name}\nHz")
        place = panel.inset_axes((1.008, 0.0, 0.01, 1.0))
        figure.colorbar(image, cax=place, format="%d dB")
    _show_codes(next(panels), coding)
    frame = coding.hop_length / coding.sample_rate
    _show_curves(next(panels), coding.bits, frame, coding.start, "bits\nper frame")
    if coding.errors is not None:
        errors = {"mean": coding.errors}
        _show_curves(next(panels), errors, coding.error_hop, coding.start, "log-mel\nerror, dB")
    figure.align_ylabels(grid[:, 0])
    end = coding.start + len(coding.reconstruction) / coding.sample_rate
    grid[-1, 0].set(xlabel="s", xlim=(coding.start, max(end, coding.start + frame)))
    return figure


def subplots(
    rows: int, columns: int, size: tuple[float, float], dpi: int = 110, **options: Any
) -> "tuple[Figure, NDArray[np.object_]]":
    """A figure of ``size`` inches that belongs to no window, and its panels ``[rows, columns]``.

    Args:
        options: of :meth:`matplotlib.figure.Figure.subplots`.

    Raises:
        CodecError: matplotlib is not installed.
    """
    backend = _import_matplotlib("matplotlib.backends.backend_agg")
    figures = _import_matplotlib("matplotlib.figure")
    figure: Figure = figures.Figure(figsize=size, dpi=dpi, layout="constrained")
    backend.FigureCanvasAgg(figure)
    if "height_ratios" in options:
        options["gridspec_kw"] = {"height_ratios": options.pop("height_ratios")}
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _spectrum(signal: Signal, sample_rate: int) -> Signal:
    """Magnitudes ``[N, F]`` of windows of about 32 ms, half a window apart."""
    librosa = import_extra("librosa", "eval", "a picture of spectrograms")
    size = _window(sample_rate)
    samples = np.asarray(signal, np.float32)
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    return np.abs(librosa.stft(padded, n_fft=size, hop_length=size // 2))


def _window(sample_rate: int) -> int:
    return int(2 ** round(np.log2(0.032 * sample_rate)))


def _show_spectrum(
    panel: "Axes", spectrum: Signal, sample_rate: int, loudest: Signal, start: float = 0.0
) -> "AxesImage":
    """``spectrum [N, F]`` in dB under the loudest point of another."""
    seconds = spectrum.shape[1] * (_window(sample_rate) // 2) / sample_rate
    return panel.imshow(
        20 * np.log10(np.maximum(spectrum / max(float(loudest.max()), 1e-5), 1e-5)),
        origin="lower",
        aspect="auto",
        extent=(start, start + seconds, 0, sample_rate / 2),
        cmap="magma",
        vmin=-80,
        vmax=0,
    )


def _show_waveforms(panel: "Axes", signals: Mapping[str, Signal], coding: Coding) -> None:
    for name, signal in signals.items():
        colour = "C0" if name == "reconstruction" else "0.6"
        step = max(1, -(-len(signal) // COLUMNS))
        columns = np.pad(np.asarray(signal), (0, -len(signal) % step)).reshape(-1, step)
        times = coding.start + np.arange(len(columns)) * step / coding.sample_rate
        if step == 1:
            panel.plot(times, columns[:, 0], color=colour, label=name, linewidth=0.7)
        else:
            least, most = columns.min(axis=1), columns.max(axis=1)
            panel.fill_between(times, least, most, color=colour, label=name, alpha=0.7, linewidth=0)
    panel.set_ylabel("waveform")
    if len(signals) > 1:
        panel.legend(loc="upper right", fontsize=7, ncols=2)


def _show_codes(panel: "Axes", coding: Coding) -> None:
    count, frames = coding.codes.shape
    shares = coding.codes / np.asarray(coding.codebook_sizes, float)[:, None]
    end = coding.start + frames * coding.hop_length / coding.sample_rate
    panel.imshow(
        shares,
        aspect="auto",
        interpolation="nearest",
        extent=(coding.start, max(end, coding.start + 1e-3), count + 0.5, 0.5),
        cmap="turbo",
        vmin=0,
        vmax=1,
    )
    panel.set_ylabel("codes\ncodebook")
    panel.set_yticks(sorted({1, count, *range(4, count, 4)}))


def _show_curves(
    panel: "Axes", curves: Mapping[str, Signal], hop: float, start: float, label: str
) -> None:
    """Steps of ``hop`` seconds from 0 up; their means are in the legend."""
    top = 0.0
    for name, values in curves.items():
        if len(values):
            edges = start + hop * np.arange(len(values) + 1)
            panel.stairs(values, edges, label=f"{name} {np.mean(values):.1f}", linewidth=0.9)
            top = max(top, float(np.max(values)))
    panel.set(ylabel=label, ylim=(0, 1.3 * top or 1.0))
    if top:
        panel.legend(loc="upper right", fontsize=7, ncols=2)


def _import_matplotlib(module: str) -> ModuleType:
    """A module of matplotlib, even if ``MPLBACKEND`` names a backend that cannot be loaded.

    Importing matplotlib fails with such a backend and cannot be repeated, so the variable is hidden
    meanwhile. A backend that can be loaded is then set as matplotlib itself would have set it.
    """
    purpose = "a picture"
    backend = os.environ.get("MPLBACKEND")
    if backend is None or "matplotlib" in sys.modules:
        return import_extra(module, "eval", purpose)
    del os.environ["MPLBACKEND"]
    try:
        settings = import_extra("matplotlib", "eval", purpose).rcParams
        with suppress(ValueError):
            settings["backend"] = backend
        return import_extra(module, "eval", purpose)
    finally:
        os.environ["MPLBACKEND"] = backend
