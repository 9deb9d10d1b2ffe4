"""How much a codec's networks compute."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from audiocodec.codec import Codec, CodecConfig

SECONDS = 2.0
"""Of audio in which multiplications are counted."""


def gigamacs(config: CodecConfig) -> float:
    """Multiplications and additions of encoder and decoder, in 10^9 per second of audio.

    Convolutions and matrix products are counted, on the meta device, so nothing is computed. The
    quantiser is not counted.
    """
    codec = Codec.without_weights(config)
    samples = round(SECONDS * codec.frame_rate) * codec.hop_length
    with (
        torch.device("meta"),
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),  # as matrix products, which are counted
        FlopCounterMode(display=False) as counter,
    ):
        codec.decoder(codec.encoder(torch.zeros(1, 1, samples)))
    return counter.get_total_flops() / 2e9 * codec.sample_rate / samples
