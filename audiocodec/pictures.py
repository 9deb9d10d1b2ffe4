"""Pictures of audio: spectrograms side by side, for the demo and for TensorBoard.

Nothing here imports pyplot: its backend (``MPLBACKEND``) may be one that cannot be loaded.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocodec.extras import import_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_spectrograms(signals: Mapping[str, NDArray[np.floating]], sample_rate: int) -> "Figure":
    """One spectrogram ``[T]`` for each title, left to right, in the order given.

    Frequency axes and the colour scale (0 to -80 dB under the loudest point of the first signal,
    the reference) are shared, so that what is missing looks missing. The figure belongs to the
    caller and to no window: save it with ``figure.savefig(path)``.
    """
    librosa = import_extra("librosa", "eval", "a picture of spectrograms")
    backend = _import_matplotlib("matplotlib.backends.backend_agg")
    figures = _import_matplotlib("matplotlib.figure")

    size = 2 ** round(np.log2(0.032 * sample_rate))
    hop = size // 2
    spectra = {
        title: np.abs(librosa.stft(_at_least(signal, size), n_fft=size, hop_length=hop))
        for title, signal in signals.items()
    }
    loudest = max(float(next(iter(spectra.values())).max()), 1e-5) if spectra else 1.0

    figure: Figure = figures.Figure(
        figsize=(4.2 * max(1, len(spectra)), 3.6), dpi=110, layout="constrained"
    )
    backend.FigureCanvasAgg(figure)
    panels = figure.subplots(1, max(1, len(spectra)), sharey=True, squeeze=False)[0]
    image = None
    for panel, (title, spectrum) in zip(panels, spectra.items(), strict=False):
        image = panel.imshow(
            20 * np.log10(np.maximum(spectrum / loudest, 1e-5)),
            origin="lower",
            aspect="auto",
            extent=(0, spectrum.shape[1] * hop / sample_rate, 0, sample_rate / 2),
            cmap="magma",
            vmin=-80,
            vmax=0,
        )
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("s")
        panel.set_ylabel("Hz" if panel is panels[0] else "")
    if image is not None:
        figure.colorbar(image, ax=panels[-1], format="%d dB")
    return figure


def _at_least(signal: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """``signal`` as float32, padded with silence to ``size`` samples if it is shorter."""
    return np.pad(np.asarray(signal, np.float32), (0, max(0, size - len(signal))))


def _import_matplotlib(module: str) -> ModuleType:
    """A module of matplotlib, even if ``MPLBACKEND`` names a backend that cannot be loaded.

    Importing matplotlib fails with such a backend and cannot be repeated, so the variable is hidden
    meanwhile. A backend that can be loaded is then set as matplotlib itself would have set it.
    """
    purpose = "a picture of spectrograms"
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
