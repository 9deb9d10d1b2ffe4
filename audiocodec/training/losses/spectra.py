"""Magnitude spectra of reconstruction and reference, computed once for all spectral losses."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from audiocodec.spectral import mel_filters, stft

Magnitudes = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def magnitudes_and_log_mels(spectrum: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
    """A spectrum ``[B, N, F, 2]`` as real numbers -> magnitudes ``[B, N, F]`` and log10 mels.

    The mels ``[B, M, F]`` are at least -5. Gradients are finite at silence.
    """
    real, imaginary = spectrum.unbind(dim=-1)
    magnitude = (real.square() + imaginary.square() + 1e-14).sqrt()
    return magnitude, (filters @ magnitude).clamp(min=1e-5).log10()


class Spectra:
    """STFT magnitudes at several window lengths, with a hop of a quarter of the window.

    Args:
        reconstruction, reference: audio ``[B, 1, T]``. No gradient reaches the reference.
        sample_rate: of both, in Hz.
        window_lengths: in samples.
        mel_bands: mel bands at each of the window lengths.
        function: :func:`magnitudes_and_log_mels`, or the same compiled.
    """

    def __init__(
        self,
        reconstruction: Tensor,
        reference: Tensor,
        sample_rate: int,
        window_lengths: Sequence[int],
        mel_bands: Sequence[int],
        function: Magnitudes = magnitudes_and_log_mels,
    ) -> None:
        self.sample_rate = sample_rate
        self.window_lengths = window_lengths
        self.mel_bands = mel_bands
        self._function = function
        self._reconstruction = reconstruction.squeeze(1).float()
        self._reference = reference.detach().squeeze(1).float()

    @cached_property
    def _both(self) -> list[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]:
        """At each window length magnitudes and log mels, of the reconstructions and references.

        Not of both in one batch: the references' half of its gradient would be computed in vain.
        """
        return [
            (self._of(self._reconstruction, *shape), self._of(self._reference, *shape))
            for shape in zip(self.window_lengths, self.mel_bands, strict=True)
        ]

    def _of(self, audio: Tensor, window: int, bands: int) -> tuple[Tensor, Tensor]:
        spectrum = torch.view_as_real(stft(audio, window, window // 4))
        filters = mel_filters(self.sample_rate, window, bands, spectrum.dtype, spectrum.device)
        return self._function(spectrum, filters)

    def magnitudes(self) -> list[tuple[Tensor, Tensor]]:
        """Magnitudes of reconstruction and reference, ``[B, N, F]`` each, at each window length."""
        return [(reconstruction[0], reference[0]) for reconstruction, reference in self._both]

    def log_mels(self) -> list[tuple[Tensor, Tensor]]:
        """log10 mel magnitudes of both, ``[B, M, F]``, at least -5, at each window length."""
        return [(reconstruction[1], reference[1]) for reconstruction, reference in self._both]
