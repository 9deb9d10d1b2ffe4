"""The codec: audio to codes and back, on one page.

Shape letters, used in every docstring of this package:

====== ==========================================================
``B``  batch: clips, or the channels of one file side by side
``T``  samples, float in [-1, 1], at ``sample_rate``
``F``  frames: ``ceil(T / hop_length)``
``D``  latent_dim
``K``  codebooks in use, at most ``num_codebooks``
====== ==========================================================
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.config import Config
from audiocodec.errors import CodecError
from audiocodec.inference import inference
from audiocodec.inputs import audio_tensor, code_tensor, resampled
from audiocodec.modules.conv import StreamState, fold_weight_norm, has_weight_norm
from audiocodec.modules.mdct import initialise_mdct
from audiocodec.modules.seanet import SEANetConfig, SEANetDecoder, SEANetEncoder
from audiocodec.quantization.residual import Quantized, ResidualQuantizer, ResidualQuantizerConfig


class CodecConfig(Config):
    """All that makes a codec, apart from its weights."""

    sample_rate: Annotated[int, pydantic.Field(ge=1000, le=192_000)] = 16_000
    seanet: SEANetConfig = SEANetConfig()
    quantizer: ResidualQuantizerConfig = ResidualQuantizerConfig()

    def computation(self) -> dict[str, Any]:
        """What codes and audio depend on beside the weights, ready for JSON.

        Fingerprints are made from it, so its names and values must not change when a setting is
        renamed, and a new setting appears in it only where it is not at its default.
        """
        return {
            "sample_rate": self.sample_rate,
            "network": self.seanet.computation(),
            "codebooks": [stage.computation() for stage in self.quantizer.stages],
        }


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
        self.float()  # the caller's default dtype may be another
        if self.device.type != "meta":
            initialise_mdct(self.encoder, self.decoder, config.seanet)

    @classmethod
    def without_weights(cls, config: CodecConfig) -> Self:
        """A codec for weights that are yet to be loaded, and are folded already.

        It is on the meta device, so nothing is drawn or computed.
        """
        with torch.device("meta"):
            return cls(config)

    # Audio flows down: audio -> latents -> codes -> latents -> audio.

    @inference
    def encode(
        self,
        audio: Tensor | np.ndarray[Any, Any],
        num_codebooks: int | None = None,
        beam: int = 1,
        lengths: Tensor | Sequence[int] | None = None,
        sample_rate: int | None = None,
    ) -> Tensor:
        """Audio ``[T]``, ``[1, T]`` or ``[B, 1, T]`` -> codes int64 ``[B, K, F]``, always.

        Codes do not depend on the caller's autocast, gradients, default dtype or default device.
        They are computed, and come back, on the codec's own device.

        Args:
            audio: a float tensor or NumPy array of any precision, in [-1, 1], on any device.
            beam: sums of entries that the search keeps; more cost time and leave less distortion.
            lengths: of a padded batch, the samples ``[B]`` of each item. What follows them may hold
                anything. An item's own ``ceil(length / hop_length)`` frames have the codes of the
                item alone (in float64; see ``codec verify`` for float32); the frames beyond are 0.
            sample_rate: of ``audio``, in Hz. Another rate than the codec's is resampled on the CPU,
                as files are; without it, audio is taken to be at the codec's rate.

        Raises:
            CodecError: wrong shape or type, lengths outside 0 ... T, more codebooks than there are,
                no beam, an invalid sample rate, or audio or weights that are not finite.
        """
        num_codebooks = self.resolve_num_codebooks(num_codebooks)
        audio = audio_tensor(audio)
        if sample_rate is not None and sample_rate != self.sample_rate:
            if lengths is not None:
                raise CodecError(
                    f"lengths need audio at {self.sample_rate} Hz, not {sample_rate}; resample "
                    "the items before they are padded"
                )
            audio = resampled(audio, sample_rate, self.sample_rate)
        if lengths is None:
            return self.quantizer.encode(self.latents(audio), num_codebooks, beam)
        samples = self._inside(lengths, audio, 1)
        alone = self.quantizer.encode(self.latents(audio.where(samples, 0.0)), num_codebooks, beam)
        return alone.where(self._inside(lengths, alone, self.hop_length), 0)

    def decode(
        self,
        codes: Tensor | np.ndarray[Any, Any],
        num_samples: int | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Codes ``[K, F]`` or ``[B, K, F]`` -> audio ``[B, 1, T]``, always, in the weights' dtype.

        ``T = F * hop_length`` unless it is given. Weights that want gradients get them, as in
        training; those of :func:`~audiocodec.checkpoint.load_codec` want none, and audio then
        depends on the caller's context as little as codes do (see :meth:`encode`).

        Args:
            codes: a tensor or NumPy array of integers of any width, on any device.
            lengths: of a padded batch, the samples ``[B]`` of each item, as in :meth:`encode`. They
                equal what is decoded from the item alone; what follows them is 0.

        Raises:
            CodecError: wrong shape or type, lengths outside 0 ... F * hop_length, more codebooks
                than there are, or codes outside the table.
        """
        if torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters()):
            return self._decode(codes, num_samples, lengths)
        return self._decode_in_use(codes, num_samples, lengths)

    def _decode(
        self, codes: Any, num_samples: int | None, lengths: Tensor | Sequence[int] | None
    ) -> Tensor:
        codes = code_tensor(codes, self.codebook_sizes).to(self.device)
        most = codes.shape[-1] * self.hop_length
        if num_samples is not None and not 0 <= num_samples <= most:
            raise CodecError(f"num_samples must lie in 0 ... {most}, not {num_samples}")
        latents = self.quantizer.decode(codes)
        if lengths is None:
            return self._decode_latents(latents)[..., :num_samples]
        latents = latents.where(self._inside(lengths, latents, self.hop_length), 0.0)
        audio = self._decode_latents(latents)
        return audio.where(self._inside(lengths, audio, 1), 0.0)[..., :num_samples]

    _decode_in_use = inference(_decode)

    def forward(self, audio: Tensor, num_codebooks: int | Tensor | None = None) -> CodecOutput:
        """The same steps with gradients: ``audio`` is ``decode(encode(audio), T)``.

        ``num_codebooks`` may be a tensor ``[B]``, one number for each item.
        """
        quantized = self.quantizer(self.latents(audio), num_codebooks)
        return CodecOutput(
            self._decode_latents(quantized.latents)[..., : audio.shape[-1]], quantized
        )

    def autoencode(self, audio: Tensor) -> Tensor:
        """Audio ``[B, 1, T]`` -> the same, without the bottleneck: what quantising starts from."""
        return self._decode_latents(self.latents(audio))[..., : audio.shape[-1]]

    def latents(self, audio: Tensor) -> Tensor:
        """Audio, as in :meth:`encode`, -> latents ``[B, D, F]``, in the weights' dtype."""
        audio = audio_tensor(audio).to(self.device, self.dtype)
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

    def _decode_latents(self, latents: Tensor) -> Tensor:
        """Latents -> audio. The decoder runs ``lookahead`` frames behind its input."""
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

    def decode_frames(self, latents: Tensor, state: StreamState) -> Tensor:
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
    def device(self) -> torch.device:
        """Where the weights are, and so where codes and audio are computed."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights, and so of the arithmetic."""
        return next(self.parameters()).dtype

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return tuple(stage.codebook.size for stage in self.quantizer.stages)

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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What ``to``, ``cuda``, ``double`` and the like do, inference tables included.

        Raises:
            CodecError: to a precision in which searches are not exact, or to another one than the
                weights and tables of a folded codec were rounded to.
        """
        dtype = fn(torch.zeros((), dtype=self.dtype, device=self.device)).dtype
        if dtype not in (torch.float32, torch.float64):
            raise CodecError(
                f"a codec computes in torch.float32 or torch.float64, not {dtype}; to train in "
                "half precision use torch.autocast"
            )
        if dtype != self.dtype and self.device.type != "meta" and not has_weight_norm(self):
            raise CodecError(
                f"a loaded codec stays in {self.dtype}, to which its tables are rounded; load it "
                f"again with load_codec(model, dtype={dtype})"
            )
        return super()._apply(fn, recurse)

    def fold(self) -> Self:
        """Fold weight norm and SimVQ's map away, in place, for inference; codes stay the same."""
        fold_weight_norm(self)
        self.quantizer.fold()
        return self.eval()
