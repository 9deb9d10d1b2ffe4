"""Pictures of audio: spectrograms side by side, for the demo and for TensorBoard."""

from collections.abc import Mapping
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
    caller and to no window: save it with ``figure.savefig(path)``, or give it to
    ``SummaryWriter.add_figure``.
    """
    librosa = import_extra("librosa", "eval", "a picture of spectrograms")
    display = import_extra("librosa.display", "eval", "a picture of spectrograms")
    backend = import_extra("matplotlib.backends.backend_agg", "eval", "a picture of spectrograms")
    figures = import_extra("matplotlib.figure", "eval", "a picture of spectrograms")

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
        image = display.specshow(
            librosa.amplitude_to_db(spectrum, ref=loudest, amin=1e-5 * loudest, top_db=None),
            sr=sample_rate,
            hop_length=hop,
            x_axis="time",
            y_axis="linear",
            ax=panel,
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
