"""The codec that is trained and saved: audio to latents to codes and back, on one page.

:class:`Codec` is differentiable. What encodes and decodes in use is made from it:
:class:`audiocodec.runtime.RuntimeCodec`.

Shape letters, used in every docstring of this package:

====== ==========================================================
``B``  batch: clips, or the channels of one file side by side
``T``  samples, float in [-1, 1], at ``sample_rate``
``F``  frames: ``ceil(T / hop_length)``
``D``  latent_dim
``K``  codebooks in use, at most ``num_codebooks``
====== ==========================================================
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.config import Config
from audiocodec.errors import CodecError
from audiocodec.modules.highpass import HighPass
from audiocodec.modules.mdct import initialise_mdct
from audiocodec.modules.seanet import SEANetDecoder, SEANetEncoder
from audiocodec.modules.shape import SEANetConfig
from audiocodec.pretrained import Pretrained
from audiocodec.quantization.residual import Quantized, ResidualQuantizer, ResidualQuantizerConfig
from audiocodec.tokens import rates
from audiocodec.tokens.context import ContextModel
from audiocodec.tokens.header import CONTEXT, CONTEXT_CHANNELS, FIXED


class CodecConfig(Config):
    """All that makes a codec, apart from its weights."""

    sample_rate: Annotated[int, pydantic.Field(ge=1000, le=192_000)] = 16_000
    highpass_hz: Annotated[float, pydantic.Field(ge=0, le=1000)] = pydantic.Field(
        0.0, description="corner of the high-pass before the encoder, in Hz; 0: none"
    )
    seanet: SEANetConfig = SEANetConfig()
    quantizer: ResidualQuantizerConfig = ResidualQuantizerConfig()

    def computation(self) -> dict[str, Any]:
        """What codes and audio depend on beside the weights, ready for JSON.

        Fingerprints are made from it, so its names and values must not change when a setting is
        renamed, and a new setting appears in it only where it is not at its default.
        """
        highpass = {"highpass_hz": self.highpass_hz} if self.highpass_hz else {}
        return {
            **highpass,
            "sample_rate": self.sample_rate,
            "network": self.seanet.computation(),
            "codebooks": [stage.computation() for stage in self.quantizer.stages],
        }


class CodecProperties(Pretrained):
    """What follows from a codec's configuration alone, in training and in use."""

    name: str
    config: CodecConfig

    @property
    def context(self) -> ContextModel | None:
        """The context model of its tokens; a codec in training has none."""
        return None

    def default_coding(self, channels: int = 1) -> str:
        """The coding of its token files where none is asked for: ``context`` if it can be."""
        return FIXED if self.context is None or channels > CONTEXT_CHANNELS else CONTEXT

    @property
    def sample_rate(self) -> int:
        """Samples per second, in Hz."""
        return self.config.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self.config.seanet.hop_length

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return rates.frame_rate(self.sample_rate, self.hop_length)

    @property
    def lookahead(self) -> int:
        """Frames that the decoder is behind its input."""
        return self.config.seanet.lookahead

    @property
    def latent_dim(self) -> int:
        """Width of the latents."""
        return self.config.seanet.latent_dim

    @property
    def num_codebooks(self) -> int:
        """Codebooks that there are: the most that can be in use."""
        return self.config.quantizer.num_codebooks

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return tuple(stage.size for stage in self.config.quantizer.stages)

    def bitrate(self, num_codebooks: int | None = None) -> float:
        """Bits per second and channel of the codes, in whole bits for each code."""
        sizes = self.codebook_sizes[: self.resolve_num_codebooks(num_codebooks)]
        return rates.bitrate(self.sample_rate, self.hop_length, sizes)

    def resolve_num_codebooks(self, num_codebooks: int | None) -> int:
        """``num_codebooks``, or all of them for ``None``.

        Raises:
            CodecError: outside 1 ... ``self.num_codebooks``.
        """
        if num_codebooks is None:
            return self.num_codebooks
        if not 1 <= num_codebooks <= self.num_codebooks:
            raise CodecError(
                f"{num_codebooks} codebooks requested: model {self.name} has 1 to "
                f"{self.num_codebooks}"
            )
        return num_codebooks

    def codebooks_for_bitrate(self, bits_per_second: float) -> int:
        """The most codebooks whose codes fit into ``bits_per_second``.

        Raises:
            CodecError: not even one fits.
        """
        fitting = [
            n for n in range(1, self.num_codebooks + 1) if self.bitrate(n) <= bits_per_second
        ]
        if not fitting:
            raise CodecError(
                f"{bits_per_second:g} bit/s is too little: one codebook of model {self.name} takes "
                f"{self.bitrate(1):g} bit/s"
            )
        return fitting[-1]


@dataclass
class CodecOutput:
    """The reconstruction ``[B, 1, T]`` and what the quantiser did."""

    audio: Tensor
    quantized: Quantized


class Codec(CodecProperties, nn.Module):
    """Encoder, residual quantiser and decoder, for training.

    One channel; more go side by side in the batch. Gradients pass through all methods but
    :meth:`encode`: to train another decoder or a language model on top of a codec, load one with
    :func:`audiocodec.checkpoint.load_trainable`.
    """

    name = "untitled"
    fingerprint = ""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        highpass = (
            HighPass(config.highpass_hz, config.sample_rate, config.seanet.hop_length)
            if config.highpass_hz
            else None
        )
        self.encoder = SEANetEncoder(config.seanet, highpass)
        self.quantizer = ResidualQuantizer(config.seanet.latent_dim, config.quantizer)
        self.decoder = SEANetDecoder(config.seanet)
        self.float()  # the caller's default dtype may be another
        if self.device.type != "meta":
            initialise_mdct(self.encoder, self.decoder, config.seanet)

    @classmethod
    def without_weights(cls, config: CodecConfig) -> Self:
        """A codec on the meta device, without weight norm, for weights that are yet to be loaded.

        Nothing is drawn or computed.
        """
        with torch.device("meta"):
            return cls(config)

    # Audio flows down: audio -> latents -> codes -> latents -> audio.

    def forward(self, audio: Tensor, num_codebooks: int | Tensor | None = None) -> CodecOutput:
        """Audio ``[B, 1, T]`` -> its reconstruction, by the steps of the methods below.

        ``num_codebooks`` may be a tensor ``[B]``, one number for each item.
        """
        quantized = self.quantizer(self.latents(audio), num_codebooks)
        reconstruction = decode_whole(self.decoder, quantized.latents, self)
        return CodecOutput(reconstruction[..., : audio.shape[-1]], quantized)

    @torch.no_grad()
    def encode(self, audio: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Audio ``[B, 1, T]`` -> codes int64 ``[B, K, F]``: the nearest entry, stage by stage."""
        return self.quantizer.encode(self.latents(audio), num_codebooks)

    def decode(self, codes: Tensor, num_samples: int | None = None) -> Tensor:
        """Codes ``[B, K, F]`` -> audio ``[B, 1, T]``; ``T = F * hop_length`` unless given.

        Gradients pass to the decoder and to the entries.
        """
        return decode_whole(self.decoder, self.quantizer.decode(codes), self)[..., :num_samples]

    def latents(self, audio: Tensor) -> Tensor:
        """Audio ``[B, 1, T]`` -> latents ``[B, D, F]``."""
        return encode_whole(self.encoder, audio, self)

    def autoencode(self, audio: Tensor) -> Tensor:
        """Audio ``[B, 1, T]`` -> its reconstruction without the quantiser."""
        return decode_whole(self.decoder, self.latents(audio), self)[..., : audio.shape[-1]]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.parameters()).dtype

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What ``to``, ``cuda``, ``double`` and the like do.

        Raises:
            CodecError: to a precision in which the nearest entries are not found exactly.
        """
        dtype = fn(torch.zeros((), dtype=self.dtype, device=self.device)).dtype
        if dtype not in (torch.float32, torch.float64):
            raise CodecError(
                f"a codec computes in torch.float32 or torch.float64, not {dtype}; to train in "
                "half precision use torch.autocast"
            )
        return super()._apply(fn, recurse)


def encode_whole(
    encode: Callable[[Tensor], Tensor], audio: Tensor, properties: CodecProperties
) -> Tensor:
    """Audio ``[B, 1, T]``, padded to whole frames -> latents ``[B, D, F]`` by ``encode``."""
    if audio.shape[-1] == 0:
        return audio.new_zeros(audio.shape[0], properties.latent_dim, 0)
    return encode(F.pad(audio, (0, -audio.shape[-1] % properties.hop_length)))


def decode_whole(
    decode: Callable[[Tensor], Tensor], latents: Tensor, properties: CodecProperties
) -> Tensor:
    """Latents ``[B, D, F]`` -> audio ``[B, 1, F * hop_length]`` by ``decode``.

    ``decode`` runs ``lookahead`` frames behind its input, so it gets as many frames more.
    """
    if latents.shape[-1] == 0:
        return latents.new_zeros(latents.shape[0], 1, 0)
    audio = decode(F.pad(latents, (0, properties.lookahead)))
    return audio[..., properties.lookahead * properties.hop_length :]
