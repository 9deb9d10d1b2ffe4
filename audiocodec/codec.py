"""The codec: sound to codes and back, on one page.

Shape letters, used in every docstring of this package:

====== ==========================================================
``B``  batch: clips, or the channels of one file side by side
``T``  samples, float in [-1, 1], at ``sample_rate``
``F``  frames: ``ceil(T / hop_length)``
``D``  latent_dim
``K``  codebooks in use, at most ``num_codebooks``
====== ==========================================================
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.config import Config
from audiocodec.errors import CodecError
from audiocodec.modules.conv import StreamState, fold_weight_norm
from audiocodec.modules.lapped import start_lapped
from audiocodec.modules.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from audiocodec.quantization.residual import Quantized, ResidualQuantizer, ResidualQuantizerConfig


class CodecConfig(Config):
    """All that makes a codec, apart from its weights."""

    sample_rate: Annotated[int, pydantic.Field(ge=1000, le=192_000)] = 16_000
    seanet: SEANetConfig = SEANetConfig()
    quantizer: ResidualQuantizerConfig = ResidualQuantizerConfig()


@dataclass
class CodecOutput:
    """What training sees: the reconstruction ``[B, 1, T]`` and what the quantiser did."""

    audio: Tensor
    quantized: Quantized


class Codec(nn.Module):
    """Encoder, residual quantiser and decoder. One channel; more go side by side in the batch."""

    name = "untitled"
    fingerprint = ""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = config.sample_rate
        self.hop_length = config.seanet.hop_length
        self.num_codebooks = config.quantizer.num_codebooks
        self.lookahead = config.seanet.lookahead
        self.encoder = SEANetEncoder(config.seanet)
        self.quantizer = ResidualQuantizer(config.seanet.latent_dim, config.quantizer)
        self.decoder = SEANetDecoder(config.seanet)
        start_lapped(self.encoder, self.decoder, config.seanet)

    # Sound flows down: audio -> latents -> codes -> latents -> audio.

    @torch.no_grad()
    def encode(
        self,
        audio: Tensor,
        num_codebooks: int | None = None,
        beam: int = 1,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Audio ``[B, 1, T]`` -> codes int64 ``[B, K, F]``.

        Args:
            beam: sums of entries that the search keeps; more cost time and leave less distortion.
            lengths: of a padded batch, the samples ``[B]`` of each item. What follows them may hold
                anything. An item's own ``ceil(length / hop_length)`` frames have the codes of the
                item alone (in float64; see ``codec verify`` for float32); the frames beyond are 0.

        Raises:
            CodecError: wrong shape or type, lengths outside 0 ... T, more codebooks than there are,
                no beam, or sound or weights that are not finite.
        """
        num_codebooks = self.resolve_num_codebooks(num_codebooks)
        if lengths is None:
            return self.quantizer.encode(self.latents(audio), num_codebooks, beam)
        self.check_audio(audio)
        samples = self._inside(lengths, audio, 1)
        alone = self.quantizer.encode(self.latents(audio.where(samples, 0.0)), num_codebooks, beam)
        return alone.where(self._inside(lengths, alone, self.hop_length), 0)

    def decode(
        self,
        codes: Tensor,
        num_samples: int | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Codes ``[B, K, F]`` -> audio ``[B, 1, T]``; ``T = F * hop_length`` unless it is given.

        Args:
            lengths: of a padded batch, the samples ``[B]`` of each item, as in :meth:`encode`. They
                sound as they would alone; what follows them is 0.

        Raises:
            CodecError: wrong shape or type, lengths outside 0 ... F * hop_length, more codebooks
                than there are, or codes outside the table.
        """
        self.check_codes(codes)
        most = codes.shape[-1] * self.hop_length
        if num_samples is not None and not 0 <= num_samples <= most:
            raise CodecError(f"num_samples must lie in 0 ... {most}, not {num_samples}")
        latents = self.quantizer.decode(codes)
        if lengths is None:
            return self._speak(latents)[..., :num_samples]
        latents = latents.where(self._inside(lengths, latents, self.hop_length), 0.0)
        audio = self._speak(latents)
        return audio.where(self._inside(lengths, audio, 1), 0.0)[..., :num_samples]

    def forward(self, audio: Tensor, num_codebooks: int | Tensor | None = None) -> CodecOutput:
        """The same steps with gradients: ``audio`` is ``decode(encode(audio), T)``.

        ``num_codebooks`` may be a tensor ``[B]``, one number for each item.
        """
        quantized = self.quantizer(self.latents(audio), num_codebooks)
        return CodecOutput(self._speak(quantized.latents)[..., : audio.shape[-1]], quantized)

    def autoencode(self, audio: Tensor) -> Tensor:
        """Audio ``[B, 1, T]`` -> the same, without the bottleneck: what quantising starts from."""
        return self._speak(self.latents(audio))[..., : audio.shape[-1]]

    def latents(self, audio: Tensor) -> Tensor:
        """Audio ``[B, 1, T]`` -> latents ``[B, D, F]``, not quantised, in the weights' dtype."""
        self.check_audio(audio)
        audio = audio.to(self.dtype)
        missing = -audio.shape[-1] % self.hop_length
        if audio.shape[-1] == 0:
            return audio.new_zeros(audio.shape[0], self.quantizer.latent_dim, 0)
        return self.encoder(F.pad(audio, (0, missing)))

    def _inside(self, lengths: Tensor | Sequence[int], batch: Tensor, per_column: int) -> Tensor:
        """Which columns of ``batch [B, *, n]`` hold some of ``lengths`` samples: ``[B, 1, n]``."""
        ends = torch.as_tensor(lengths, device=batch.device)
        most = batch.shape[-1] * per_column
        if ends.shape != batch.shape[:1] or ends.is_floating_point():
            raise CodecError(f"lengths must be {len(batch)} whole numbers, one for each item")
        if bool(((ends < 0) | (ends > most)).any()):
            raise CodecError(f"lengths must lie in 0 ... {most} samples, not {ends.tolist()}")
        starts = torch.arange(0, most, per_column, device=batch.device)
        return (starts < ends.unsqueeze(1)).unsqueeze(1)

    def _speak(self, latents: Tensor) -> Tensor:
        """Latents -> audio. The decoder runs ``lookahead`` frames behind what it hears."""
        if latents.shape[-1] == 0:
            return latents.new_zeros(latents.shape[0], 1, 0)
        late = self.decoder(F.pad(latents, (0, self.lookahead)))
        return late[..., self.lookahead * self.hop_length :]

    # The same steps for a piece of a stream, whose state the caller owns.

    def encode_frames(
        self, audio: Tensor, state: StreamState, num_codebooks: int, beam: int = 1
    ) -> Tensor:
        """Whole frames of a stream ``[B, 1, F * hop_length]`` -> codes ``[B, K, F]``."""
        return self.quantizer.encode(self.encoder(audio, state), num_codebooks, beam)

    def speak_frames(self, latents: Tensor, state: StreamState) -> Tensor:
        """Latents of a stream -> audio ``[B, 1, F * hop_length]``, ``lookahead`` frames late."""
        return self.decoder(latents, state)

    def padding(self, batch_size: int) -> Tensor:
        """The latents ``[B, D, lookahead]`` that end a stream."""
        parameter = next(self.decoder.parameters())
        return parameter.new_zeros(batch_size, self.quantizer.latent_dim, self.lookahead)

    def silence(self) -> Tensor:
        """Latents ``[1, D, 1]`` of silence that has lasted for a second."""
        quiet = self.padding(1).new_zeros(1, 1, round(self.frame_rate) * self.hop_length)
        return self.latents(quiet)[..., -1:]

    # Arithmetic that everybody asks for.

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights, and so of the arithmetic."""
        return next(self.parameters()).dtype

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return tuple(stage.codebook.size for stage in self.quantizer.members)

    def bitrate(self, num_codebooks: int | None = None) -> float:
        """Bits per second and channel that codes take, in whole bits for each code."""
        sizes = self.codebook_sizes[: self.resolve_num_codebooks(num_codebooks)]
        return self.frame_rate * sum((size - 1).bit_length() for size in sizes)

    def resolve_num_codebooks(self, num_codebooks: int | None) -> int:
        """``num_codebooks``, or all of them for ``None``.

        Raises:
            CodecError: outside 1 ... ``self.num_codebooks``.
        """
        if num_codebooks is None:
            return self.num_codebooks
        if not 1 <= num_codebooks <= self.num_codebooks:
            raise CodecError(
                f"{num_codebooks} codebooks asked for: model {self.name} takes 1 to "
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

    def check_audio(self, audio: Any) -> None:
        """Raise :class:`CodecError` unless ``audio`` is a float tensor ``[B, 1, T]``."""
        if not isinstance(audio, Tensor):
            raise CodecError(
                f"audio must be a tensor [batch, 1, samples], not {type(audio).__name__}"
            )
        if audio.dim() != 3 or audio.shape[1] != 1:
            raise CodecError(f"audio must be [batch, 1, samples], not {list(audio.shape)}")
        if not audio.is_floating_point():
            raise CodecError(
                f"audio must be float in [-1, 1], not {audio.dtype}; divide int16 by 32768"
            )

    def check_codes(self, codes: Any) -> None:
        """Raise :class:`CodecError` unless ``codes`` are whole, ``[B, K, F]`` and in the tables."""
        if not isinstance(codes, Tensor) or codes.dtype not in (torch.int64, torch.int32):
            kind = codes.dtype if isinstance(codes, Tensor) else type(codes).__name__
            raise CodecError(f"codes must be a tensor of int64 or int32, not {kind}")
        if codes.dim() != 3 or not 1 <= codes.shape[1] <= self.num_codebooks:
            raise CodecError(
                f"codes must be [batch, 1 to {self.num_codebooks} codebooks, frames], "
                f"not {list(codes.shape)}"
            )
        sizes = self.codebook_sizes[: codes.shape[1]]
        if codes.numel() == 0:
            return
        least, most = (int(end) for end in codes.aminmax())
        if least < 0 or (
            most >= min(sizes) and bool((codes >= codes.new_tensor(sizes).view(1, -1, 1)).any())
        ):
            raise CodecError(
                f"codes outside 0 ... {max(self.codebook_sizes) - 1}: not of this model"
            )

    def fold(self) -> "Codec":
        """Fold weight norm and SimVQ's map away, in place, for inference; codes stay the same."""
        fold_weight_norm(self)
        self.quantizer.fold()
        return self.eval()
