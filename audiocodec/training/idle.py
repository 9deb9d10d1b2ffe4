"""The parts of the networks on which the loss of a step does not depend.

With several processes every parameter needs a gradient in every step (``fabric.py``), so these are
named. They follow from the variant of the step, and so are the same for all processes.
"""

from collections.abc import Sequence

from torch import nn

from audiocodec.codec import Codec
from audiocodec.quantization.residual import Quantized
from audiocodec.training.discriminators import Discriminators
from audiocodec.training.losses.registry import LOSSES
from audiocodec.training.schedule import StepVariant


def idle_parts(
    codec: Codec, variant: StepVariant, quantized: Quantized | None
) -> Sequence[nn.Module]:
    """Those of the codec: what is frozen, the quantiser without a loss, stages not in use.

    Without a loss of its own the quantiser has no gradient: estimators pass it by.
    """
    quantizer = codec.quantizer
    if variant.decoder_only:
        return [codec.encoder, quantizer]
    if quantized is None or not any(LOSSES[name].needs_quantizer for name in variant.losses):
        return [quantizer]
    return [*quantizer.stages][quantized.codes.shape[1] :]


def idle_discriminators(discriminators: Discriminators, variant: StepVariant) -> list[nn.Module]:
    """The discriminators that the step does not use."""
    networks = discriminators.networks.items()
    return [network for name, network in networks if name not in variant.discriminators]
