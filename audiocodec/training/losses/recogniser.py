"""What a speech recogniser hears: distance between the features of its frozen encoder.

Features of networks trained on speech follow sounds and words, which PESQ and spectra see little
of. A loss of such features is known as a deep feature or perceptual loss (Germain et al. 2018,
arXiv 1806.10522). Do not judge a model by word errors of the recogniser that it was trained with.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from audiocodec.errors import CodecError
from audiocodec.training.losses.loss import Loss
from audiocodec.training.losses.whisper import SAMPLE_RATE, WhisperEncoder, load_whisper_encoder

LEAST_DEVIATION = 1e-2


def recogniser_loss(reconstruction: Tensor, reference: Tensor, network: nn.Module) -> Tensor:
    """Mean over blocks of the L1 distance between features, for audio ``[B, 1, T]``.

    Each feature is divided by the reference's mean deviation in it: a few features of a transformer
    are large and hardly change. About 0 to 1.5.
    """
    pairs = zip(network(reconstruction), _without_gradient(network, reference), strict=True)
    distances = []
    for ours, theirs in pairs:
        deviation = (theirs - theirs.mean(dim=(0, 1))).abs().mean(dim=(0, 1))
        distances.append(((ours - theirs).abs() / (deviation + LEAST_DEVIATION)).mean())
    return torch.stack(distances).mean()


@torch.no_grad()
def _without_gradient(network: nn.Module, audio: Tensor) -> list[Tensor]:
    features: list[Tensor] = network(audio)
    return features


def load_recogniser(folder: str | None, sample_rate: int) -> WhisperEncoder:
    """The encoder of the Whisper model in ``folder``, frozen.

    Raises:
        CodecError: no folder is named, or there is no such model, or the codec has another sample
            rate than Whisper.
    """
    if sample_rate != SAMPLE_RATE:
        raise CodecError(
            f"losses.recogniser: Whisper needs codec.sample_rate {SAMPLE_RATE}, not {sample_rate}; "
            "set its weight to 0"
        )
    if folder is None:
        raise CodecError(
            "losses.recogniser: needs a Whisper model in CTranslate2's format; name its folder "
            "with --set losses.models.recogniser=FOLDER"
        )
    return load_whisper_encoder(Path(folder).expanduser())


RECOGNISER = Loss(
    recogniser_loss,
    weight=0.0,
    description="features of Whisper's encoder, whose folder is `models.recogniser`",
    load_network=load_recogniser,
)
