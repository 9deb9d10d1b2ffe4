"""Who speaks: distance between embeddings of a frozen speaker encoder (extra `speaker`).

Do not judge a model by the speaker similarity of the encoder that it was trained with.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics.speaker import load_encoder
from audiocodec.spectral import hann, mel_from_magnitude
from audiocodec.training.losses.loss import Loss

SAMPLE_RATE = 16_000
WINDOW, HOP, MEL_BANDS = 400, 160, 40
SLICE_FRAMES, SLICE_STEP = 160, 77
"""An embedding is that of 1.6 s, as in Resemblyzer; longer clips have one every 0.77 s."""

QUIETEST, TARGET = 1e-3, 10 ** (-30 / 20)
"""Root-mean-squares: clips below the target are raised to it, as far as from the quietest."""


class SpeakerEncoder(nn.Module):
    """Audio to embeddings of unit length.

    Args:
        encoder: has ``lstm`` and ``linear``, like Resemblyzer's ``VoiceEncoder`` (an LSTM trained
            with the GE2E loss: Wan et al. 2018, arXiv 1710.10467).
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.lstm = encoder.get_submodule("lstm")
        self.linear = encoder.get_submodule("linear")

    def forward(self, audio: Tensor, gain: Tensor) -> Tensor:
        """``[B, 1, T]`` at 16 kHz and gains ``[B, 1, 1]`` -> ``[B, S, D]``, one for each slice."""
        mel = self.mel(audio * gain)
        if mel.shape[1] > SLICE_FRAMES:
            mel = mel.unfold(1, SLICE_FRAMES, SLICE_STEP).transpose(2, 3)
        slices = mel.reshape(-1, *mel.shape[-2:])
        _, (hidden, _) = self.lstm(slices)
        embedding = F.normalize(F.relu(self.linear(hidden[-1])), dim=-1)
        return embedding.reshape(len(audio), -1, embedding.shape[-1])

    def mel(self, audio: Tensor) -> Tensor:
        """The power in mel bands ``[B, F, M]``, in frames of 10 ms; silence beyond both ends."""
        x = F.pad(audio.float().squeeze(1), (WINDOW // 2, WINDOW // 2))
        window = hann(WINDOW, x.dtype, x.device)
        spectrum = torch.stft(x, WINDOW, HOP, window=window, center=False, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return mel_from_magnitude(power, SAMPLE_RATE, MEL_BANDS).transpose(1, 2)


def speaker_loss(reconstruction: Tensor, reference: Tensor, network: nn.Module) -> Tensor:
    """1 less the cosine similarity of the embeddings, a mean over clips ``[B, 1, T]``; 0 to 1.

    Quiet clips are raised to -30 dBFS by one gain for both. Pauses are not removed.
    """
    level = reference.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=QUIETEST)
    gain = (TARGET / level).clamp(min=1)
    with torch.no_grad():
        theirs = network(reference, gain)
    return 1 - (network(reconstruction, gain) * theirs).sum(dim=-1).mean()


def load_speaker_encoder(folder: str | None, sample_rate: int) -> SpeakerEncoder:
    """Resemblyzer's encoder, frozen; its weights are part of the package.

    Raises:
        CodecError: Resemblyzer is not installed, or the codec has another sample rate.
    """
    if folder is not None:
        raise CodecError("losses.models.speaker: the model is part of Resemblyzer; leave this out")
    if sample_rate != SAMPLE_RATE:
        raise CodecError(
            f"losses.speaker: Resemblyzer needs codec.sample_rate {SAMPLE_RATE}, not "
            f"{sample_rate}; set its weight to 0"
        )
    encoder = SpeakerEncoder(copy.deepcopy(load_encoder()[1]))
    # cuDNN computes the gradient of an LSTM in training mode only; this one has no dropout.
    return encoder.requires_grad_(False).train()


SPEAKER = Loss(
    speaker_loss,
    weight=0.0,
    description="embedding of a speaker encoder (extra `speaker`)",
    load_network=load_speaker_encoder,
)
