"""Spectral distances, each a mean over all window lengths."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec import ranks
from audiocodec.training.losses.loss import Loss
from audiocodec.training.losses.spectra import Spectra


def mel_loss(spectra: Spectra) -> Tensor:
    """L1 of log10 mel magnitudes, as in DAC (Kumar et al. 2023, arXiv 2306.06546)."""
    return torch.stack(
        [F.l1_loss(reconstruction, reference) for reconstruction, reference in spectra.log_mels()]
    ).mean()


def stft_loss(spectra: Spectra, batch_mean: Callable[[Tensor], Tensor] = ranks.mean) -> Tensor:
    """L1 of magnitudes, divided by the reference's mean magnitude, that of the whole batch.

    Quiet speech counts as much as loud speech, and strong bins count more than weak ones.
    Logarithms of single bins are not used: in weak bins their gradients are large noise.
    """
    pairs = spectra.magnitudes()
    usual = batch_mean(torch.stack([reference.mean() for _, reference in pairs]))
    distances = torch.stack([F.l1_loss(*pair) for pair in pairs])
    return (distances / (usual + 1e-5)).mean()


MEL = Loss(mel_loss, weight=15.0, description="L1 between log10 mel spectra", if_zero=True)
STFT = Loss(stft_loss, weight=5.0, description="L1 between magnitudes, relative", if_zero=True)
