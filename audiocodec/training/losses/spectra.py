"""Magnitude spectra of reconstruction and reference, computed once for all spectral losses."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from audiocodec.spectral import mel_from_magnitude, stft_magnitude


class Spectra:
    """STFT magnitudes at several window lengths, with a hop of a quarter of the window.

    Args:
        reconstruction, reference: audio ``[B, 1, T]``.
        sample_rate: of both, in Hz.
        window_lengths: in samples.
        mel_bands: mel bands at each of the window lengths.
    """

    def __init__(
        self,
        reconstruction: Tensor,
        reference: Tensor,
        sample_rate: int,
        window_lengths: Sequence[int],
        mel_bands: Sequence[int],
    ) -> None:
        self.sample_rate = sample_rate
        self.window_lengths = window_lengths
        self.mel_bands = mel_bands
        self._audio = torch.cat([reconstruction, reference]).squeeze(1).float()

    @cached_property
    def _both(self) -> list[tuple[Tensor, Tensor]]:
        """At each window length magnitudes and log mels: reconstructions, then references."""
        spectra = []
        for window, bands in zip(self.window_lengths, self.mel_bands, strict=True):
            magnitude = stft_magnitude(self._audio, window, window // 4)
            mel = mel_from_magnitude(magnitude, self.sample_rate, bands)
            spectra.append((magnitude, mel.clamp(min=1e-5).log10()))
        return spectra

    def magnitudes(self) -> list[tuple[Tensor, Tensor]]:
        """Magnitudes of reconstruction and reference, ``[B, N, F]`` each, at each window length."""
        return [_pair(magnitude) for magnitude, _ in self._both]

    def log_mels(self) -> list[tuple[Tensor, Tensor]]:
        """log10 mel magnitudes of both, ``[B, M, F]``, at least -5, at each window length."""
        return [_pair(log_mel) for _, log_mel in self._both]


def _pair(both: Tensor) -> tuple[Tensor, Tensor]:
    reconstruction, reference = both.chunk(2)
    return reconstruction, reference
