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
    def _magnitudes(self) -> list[Tensor]:
        """``[2 * B, N, F]`` at each window length: reconstructions, then references."""
        return [stft_magnitude(self._audio, n, n // 4) for n in self.window_lengths]

    def magnitudes(self) -> list[tuple[Tensor, Tensor]]:
        """Magnitudes of reconstruction and reference, ``[B, N, F]`` each, at each window length."""
        return [_pair(magnitude) for magnitude in self._magnitudes]

    def log_mels(self) -> list[tuple[Tensor, Tensor]]:
        """log10 mel magnitudes of both, ``[B, M, F]``, at least -5, at each window length."""
        return [
            _pair(mel_from_magnitude(magnitude, self.sample_rate, bands).clamp(min=1e-5).log10())
            for magnitude, bands in zip(self._magnitudes, self.mel_bands, strict=True)
        ]


def _pair(both: Tensor) -> tuple[Tensor, Tensor]:
    reconstruction, reference = both.chunk(2)
    return reconstruction, reference
