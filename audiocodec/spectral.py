"""Short-time Fourier and mel spectra: one definition for losses, discriminators and metrics.

Shapes: ``B`` batch, ``T`` samples, ``N`` frequency bins (``window // 2 + 1``), ``M`` mel bands,
``F`` frames. Windows are Hann, frames centred, the signal's ends reflected.
"""

import warnings
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.extras import import_extra


def stft(audio: Tensor, window_length: int, hop_length: int) -> Tensor:
    """Complex spectrum of ``[B, T]`` -> ``[B, N, F]``, computed in float32 or above."""
    audio = audio.to(torch.promote_types(audio.dtype, torch.float32))
    half = window_length // 2
    mode = "reflect" if audio.shape[-1] > half else "constant"
    padded = F.pad(audio.unsqueeze(1), (half, half), mode=mode).squeeze(1)
    window = hann(window_length, audio.dtype, audio.device)
    return torch.stft(
        padded, window_length, hop_length, window=window, center=False, return_complex=True
    )


def stft_magnitude(audio: Tensor, window_length: int, hop_length: int) -> Tensor:
    """``|STFT|`` of ``[B, T]`` -> ``[B, N, F]``; its gradient is finite at silence."""
    spectrum = stft(audio, window_length, hop_length)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-14).sqrt()


def mel_from_magnitude(magnitude: Tensor, sample_rate: int, bands: int) -> Tensor:
    """Mel bands of a magnitude spectrum, ``[B, N, F]`` -> ``[B, M, F]`` (Slaney's scale)."""
    window_length = 2 * (magnitude.shape[1] - 1)
    filters = mel_filters(sample_rate, window_length, bands, magnitude.dtype, magnitude.device)
    return filters @ magnitude


@lru_cache(maxsize=64)
def mel_filters(
    sample_rate: int, window_length: int, bands: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Area-normalised triangular filters ``[M, N]``; bands without a bin of their own are empty."""
    librosa_filters = import_extra("librosa.filters", "eval", "a mel spectrogram")
    with warnings.catch_warnings():
        # librosa warns of empty bands, which short windows are bound to have.
        warnings.simplefilter("ignore", UserWarning)
        filters = librosa_filters.mel(sr=sample_rate, n_fft=window_length, n_mels=bands)
    with torch.inference_mode(False):  # else a first use in inference would bar later training
        return torch.from_numpy(filters).to(device, dtype)


@lru_cache(maxsize=64)
def hann(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The periodic window ``[length]``, made once."""
    with torch.inference_mode(False):
        return torch.hann_window(length, dtype=dtype, device=device)
