"""The codec in use: what :func:`~audiocodec.checkpoint.load_codec` returns.

A runtime codec never trains and never changes. An :class:`Engine` computes the encoder and the
decoder, and :class:`~audiocodec.quantization.search.InferenceTables` turn latents into codes and
back. The shape letters are in :mod:`audiocodec.codec`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from audiocodec.codec import Codec, CodecProperties, decode_whole, encode_whole
from audiocodec.errors import CodecError
from audiocodec.inference import inference
from audiocodec.inputs import audio_tensor, check_beam, code_tensor, resampled
from audiocodec.modules.conv import (
    StreamState,
    has_weight_norm,
    state_shapes,
    without_weight_norm,
)
from audiocodec.quantization.search import InferenceTables
from audiocodec.tokens.context import ContextModel


class Engine(Protocol):
    """Computes the encoder and the decoder of one codec, without gradients.

    With a :class:`~audiocodec.modules.conv.StreamState`, which the caller owns, a call is the next
    piece of a stream, and the state is updated. Without one, the signal starts in silence.
    """

    @property
    def device(self) -> torch.device:
        """Where it takes its input and leaves its output."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its input and its output."""

    def encode(self, audio: Tensor, state: StreamState | None = None) -> Tensor:
        """Audio ``[B, 1, F * hop_length]``, ``F > 0`` -> latents ``[B, D, F]``."""

    def decode(self, latents: Tensor, state: StreamState | None = None) -> Tensor:
        """Latents ``[B, D, F]``, ``F > 0`` -> audio ``[B, 1, F * hop_length]``, which is
        ``lookahead`` frames late."""


class TorchEngine:
    """PyTorch, on the device and in the precision of ``codec``."""

    def __init__(self, codec: Codec) -> None:
        """``codec`` is copied, unless it has no weight norm: then it is one for use already."""
        self.device, self.dtype = codec.device, codec.dtype
        if has_weight_norm(codec):
            weights = {name: value.detach().clone() for name, value in codec.state_dict().items()}
            codec = Codec.without_weights(codec.config)
            codec.load_state_dict(without_weight_norm(weights), assign=True)
        self.encoder = codec.encoder.eval().requires_grad_(False)
        self.decoder = codec.decoder.eval().requires_grad_(False)

    def encode(self, audio: Tensor, state: StreamState | None = None) -> Tensor:
        return self.encoder(audio, state)

    def decode(self, latents: Tensor, state: StreamState | None = None) -> Tensor:
        return self.decoder(latents, state)


class RuntimeCodec(CodecProperties):
    """Encodes and decodes, with the same result whatever the caller's autocast, gradients, default
    dtype or default device.

    Args:
        codec: names, configuration and quantiser are taken from it, as they are now.
        engine: computes the encoder and decoder of ``codec``; by default PyTorch.
        context: file of the context model of its tokens, which is read when it is first needed.
        folder: the model folder that ``codec`` was read from.

    Raises:
        NotFiniteError: a codebook of ``codec`` has entries that are not finite.
    """

    def __init__(
        self,
        codec: Codec,
        engine: Engine | None = None,
        context: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        self._context_path = context
        self.folder = folder
        self.name = codec.name
        self.fingerprint = codec.fingerprint
        self.config = codec.config
        self.engine = engine or TorchEngine(codec)
        self.tables = InferenceTables(codec.quantizer)
        self.encoder_state_shapes = state_shapes(codec.encoder)
        self.decoder_state_shapes = state_shapes(codec.decoder)
        self.parameter_counts = {
            "encoder": _count(codec.encoder),
            "quantizer": _count(codec.quantizer),
            "decoder": _count(codec.decoder),
        }

    @cached_property
    def context(self) -> ContextModel | None:
        """The context model of its tokens, or ``None``.

        Raises:
            CodecError: a damaged file, or a model of other codebooks.
        """
        if self._context_path is None:
            return None
        context = ContextModel.load(self._context_path)
        if context.codebook_sizes != self.codebook_sizes:
            raise CodecError(
                f"{self._context_path}: is for codebooks of {context.codebook_sizes} entries, not "
                f"for those of {self.name}; make one with codec train-context"
            )
        return context

    @property
    def device(self) -> torch.device:
        """Where codes and audio are computed."""
        return self.engine.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the arithmetic."""
        return self.engine.dtype

    @property
    def num_parameters(self) -> int:
        """Numbers in its weights."""
        return sum(self.parameter_counts.values())

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

        The codes are on the codec's device.

        Args:
            audio: a float tensor or NumPy array of any precision, in [-1, 1], on any device.
            beam: width of the search; a wider beam takes more time and leaves less distortion.
            lengths: of a padded batch, the samples ``[B]`` of each item. What follows them may hold
                anything. An item's own ``ceil(length / hop_length)`` frames have the codes of the
                item alone (in float64; see ``codec verify`` for float32); the frames beyond are 0.
            sample_rate: of ``audio``, in Hz. Another rate than the codec's is resampled on the CPU,
                as files are; without it, audio is taken to be at the codec's rate.

        Raises:
            CodecError: wrong shape or type, lengths outside 0 ... T, more codebooks than there are,
                a beam width below 1, an invalid sample rate, or audio or weights that are not
                finite.
        """
        num_codebooks = self.resolve_num_codebooks(num_codebooks)
        check_beam(beam)
        audio = audio_tensor(audio)
        if sample_rate is not None and sample_rate != self.sample_rate:
            if lengths is not None:
                raise CodecError(
                    f"lengths need audio at {self.sample_rate} Hz, not {sample_rate}; resample "
                    "the items before they are padded"
                )
            audio = resampled(audio, sample_rate, self.sample_rate)
        audio = audio.to(self.device, self.dtype)
        if lengths is None:
            return self.tables.encode(self._latents(audio), num_codebooks, beam)
        audio = audio.where(self._inside(lengths, audio, 1), 0.0)
        codes = self.tables.encode(self._latents(audio), num_codebooks, beam)
        return codes.where(self._inside(lengths, codes, self.hop_length), 0)

    @inference
    def decode(
        self,
        codes: Tensor | np.ndarray[Any, Any],
        num_samples: int | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Codes ``[K, F]`` or ``[B, K, F]`` -> audio ``[B, 1, T]``, always, in the codec's dtype.

        ``T = F * hop_length`` unless it is given.

        Args:
            codes: a tensor or NumPy array of integers of any width, on any device.
            lengths: of a padded batch, the samples ``[B]`` of each item, as in :meth:`encode`. They
                equal what is decoded from the item alone; what follows them is 0.

        Raises:
            CodecError: wrong shape or type, lengths outside 0 ... F * hop_length, more codebooks
                than there are, or codes outside the table.
        """
        codes = code_tensor(codes, self.codebook_sizes).to(self.device)
        most = codes.shape[-1] * self.hop_length
        if num_samples is not None and not 0 <= num_samples <= most:
            raise CodecError(f"num_samples must lie in 0 ... {most}, not {num_samples}")
        latents = self.tables.decode(codes)
        if lengths is None:
            return decode_whole(self.engine.decode, latents, self)[..., :num_samples]
        latents = latents.where(self._inside(lengths, latents, self.hop_length), 0.0)
        audio = decode_whole(self.engine.decode, latents, self)
        return audio.where(self._inside(lengths, audio, 1), 0.0)[..., :num_samples]

    @inference
    def latents(self, audio: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """Audio, as in :meth:`encode`, -> latents ``[B, D, F]``, before they are quantised."""
        return self._latents(audio_tensor(audio).to(self.device, self.dtype))

    @inference
    def quantized(self, codes: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """Codes, as in :meth:`decode`, -> the latents ``[B, D, F]`` that they stand for."""
        return self.tables.decode(code_tensor(codes, self.codebook_sizes).to(self.device))

    @inference
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Latents ``[B, D, F]``, quantised or not, -> audio ``[B, 1, F * hop_length]``."""
        return decode_whole(self.engine.decode, latents.to(self.device, self.dtype), self)

    def _latents(self, audio: Tensor) -> Tensor:
        return encode_whole(self.engine.encode, audio, self)

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


def _count(part: nn.Module) -> int:
    """Numbers in the weights and buffers of ``part``, without the lengths of weight norm."""
    tensors = part.state_dict().items()
    return sum(value.numel() for name, value in tensors if not name.endswith(".original0"))
