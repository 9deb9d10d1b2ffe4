"""What a codec is trained to make small: spectral distance, waveform distance, adversarial terms.

``reconstruction, reference`` always in this order, audio ``[B, 1, T]``. Everything here is float32.
"""

from typing import Annotated

import pydantic
import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.config import Config
from audiocodec.spectral import hann, mel_from_magnitude, stft_magnitude

Weight = Annotated[float, pydantic.Field(ge=0, le=1e6)]
FeatureMaps = list[list[Tensor]]
"""For each discriminator the outputs of its layers, its verdict last."""


LINES_PER_BAND = 10
LEAST_TONAL_HOP = 16
"""Samples in a frame; fewer have no lines at multiples of the frame rate to look at."""


class LossConfig(Config):
    """Weights of the codec's losses; the quantiser's own loss has weight 1 unless said."""

    mel: Weight = pydantic.Field(15.0, description="L1 between log10 mel spectra")
    stft: Weight = pydantic.Field(5.0, description="L1 between magnitudes, relative")
    waveform: Weight = pydantic.Field(5.0, description="L1 between samples, relative")
    loudness: Weight = pydantic.Field(0.0, description="loudness in Bark bands, after P.862")
    level: Weight = pydantic.Field(0.0, description="level of each clip, in units of 20 dB")
    tonal: Weight = pydantic.Field(0.0, description="lines at multiples of the frame rate")
    quantizer: Weight = 1.0
    adversarial: Weight = 1.0
    feature_matching: Weight = 2.0
    window_lengths: tuple[Annotated[int, pydantic.Field(ge=8, le=65_536)], ...] = pydantic.Field(
        (32, 64, 128, 256, 512, 1024, 2048),
        min_length=1,
        description="STFT windows in samples, hop a quarter",
    )
    mel_bands: tuple[Annotated[int, pydantic.Field(ge=1, le=4096)], ...] = pydantic.Field(
        (5, 10, 20, 40, 80, 160, 320), description="mel bands of each window"
    )

    @pydantic.model_validator(mode="after")
    def _lists_agree(self) -> "LossConfig":
        if len(self.mel_bands) != len(self.window_lengths):
            raise ValueError("`mel_bands` needs one value for each of `window_lengths`")
        return self


def spectral_losses(
    reconstruction: Tensor, reference: Tensor, sample_rate: int, config: LossConfig
) -> tuple[Tensor, Tensor]:
    """Mel loss and STFT loss, each a mean over all windows, from one STFT a window.

    The mel loss is that of DAC (Kumar et al. 2023, arXiv 2306.06546): L1 of log10 mel magnitudes.
    The STFT loss is the L1 of magnitudes as a share of the reference's mean magnitude: quiet speech
    counts as much as loud, and strong bins more than weak ones. (Logarithms of single bins are left
    out: at weak bins their gradients are large noise.)
    """
    both = torch.cat([reconstruction, reference]).squeeze(1).float()
    mel_terms, stft_terms = [], []
    for window, bands in zip(config.window_lengths, config.mel_bands, strict=True):
        magnitude = stft_magnitude(both, window, window // 4)
        made, wanted = magnitude.chunk(2)
        stft_terms.append(F.l1_loss(made, wanted) / (wanted.mean() + 1e-5))
        mel = mel_from_magnitude(magnitude, sample_rate, bands).clamp(min=1e-5).log10()
        made, wanted = mel.chunk(2)
        mel_terms.append(F.l1_loss(made, wanted))
    return torch.stack(mel_terms).mean(), torch.stack(stft_terms).mean()


def waveform_loss(reconstruction: Tensor, reference: Tensor) -> Tensor:
    """L1 of samples as a share of each reference's mean absolute sample, mean over the batch."""
    distance = (reconstruction - reference).abs().mean(dim=(1, 2))
    return (distance / (reference.abs().mean(dim=(1, 2)) + 1e-4)).mean()


def level_loss(reconstruction: Tensor, reference: Tensor) -> Tensor:
    """How far a reconstruction's root-mean-square is from the reference's, in units of 20 dB.

    Distances are least for a reconstruction that is too soft where it is wrong. Clips of less than
    -80 dBFS count as being at -80. Mean over the batch.
    """
    both = torch.stack([reconstruction, reference]).float()
    level = 0.5 * (both.square().mean(dim=(2, 3)) + 1e-8).log10()
    return (level[0] - level[1]).abs().mean()


def tonal_loss(reconstruction: Tensor, reference: Tensor, hop_length: int) -> Tensor:
    """How much more of the audio lies at multiples of the frame rate than half-way between them.

    A decoder that repeats a pattern frame by frame makes lines there, which spectra of short
    windows do not show. Of a clip as a whole: the lines' share of the power at lines and half-way
    points, 1/2 for audio that is independent of the frames; its batch mean over bands of
    ``LINES_PER_BAND`` lines, absolute difference from the reference's, mean over bands: 0 to 1.
    """
    frames = reconstruction.shape[-1] // hop_length
    both = torch.cat([reconstruction, reference]).float()[:, 0, : frames * hop_length]
    spectrum = torch.fft.rfft(both * hann(both.shape[-1], both.dtype, both.device))
    power = spectrum.real.square() + spectrum.imag.square()
    power = power[:, :-2] + power[:, 1:-1] + power[:, 2:]  # a line is three bins wide
    lines = (hop_length - 1) // 2 - 1
    at, between = (
        power[:, first::frames][:, :lines] for first in (frames - 1, frames - 1 + frames // 2)
    )
    share = (at + 1e-12) / (at + between + 2e-12)
    made, wanted = share.unflatten(0, (2, -1)).mean(dim=1)
    bands = [
        a.mean() - b.mean()
        for a, b in zip(made.split(LINES_PER_BAND), wanted.split(LINES_PER_BAND), strict=True)
    ]
    return torch.stack(bands).abs().mean()


def discriminator_loss(real: FeatureMaps, fake: FeatureMaps) -> Tensor:
    """Hinge loss of the discriminators, a mean over them: real above 1, fake below -1."""
    terms = [
        F.relu(1 - a[-1].float()).mean() + F.relu(1 + b[-1].float()).mean()
        for a, b in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def adversarial_loss(fake: FeatureMaps) -> Tensor:
    """Hinge loss of the codec: every discriminator's verdict on a reconstruction, up."""
    return torch.stack([-maps[-1].float().mean() for maps in fake]).mean()


def feature_matching_loss(real: FeatureMaps, fake: FeatureMaps) -> Tensor:
    """L1 between inner layers of the discriminators, each relative to the real layer's mean."""
    terms = [
        F.l1_loss(b.float(), a.detach().float()) / (a.detach().float().abs().mean() + 1e-5)
        for real_maps, fake_maps in zip(real, fake, strict=True)
        for a, b in zip(real_maps[:-1], fake_maps[:-1], strict=True)
    ]
    return torch.stack(terms).mean()
