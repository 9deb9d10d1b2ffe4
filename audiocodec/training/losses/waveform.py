"""Distance between samples."""

from torch import Tensor

from audiocodec.training.losses.loss import Loss


def waveform_loss(reconstruction: Tensor, reference: Tensor) -> Tensor:
    """L1 of samples, divided by the reference's mean absolute sample; a mean over the batch.

    Both are ``[B, 1, T]``.
    """
    distance = (reconstruction - reference).abs().mean(dim=(1, 2))
    return (distance / (reference.abs().mean(dim=(1, 2)) + 1e-4)).mean()


WAVEFORM = Loss(waveform_loss, weight=5.0, description="L1 between samples, relative", if_zero=True)
