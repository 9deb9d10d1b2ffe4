"""The quantiser's own loss."""

from torch import Tensor

from audiocodec.quantization.residual import Quantized
from audiocodec.training.losses.loss import Loss


def quantizer_loss(quantized: Quantized) -> Tensor:
    """Codebook and commitment losses, a mean over the stages in use."""
    return quantized.loss


QUANTIZER = Loss(
    quantizer_loss, weight=1.0, description="codebook and commitment losses", if_zero=True
)
