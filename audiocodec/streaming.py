"""Streams: push pieces of any length, get what is complete.

A stream owns its state; one codec serves any number of streams. What the pushes return, joined, is
what :meth:`Codec.encode` and :meth:`Codec.decode` give for the whole signal.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.modules.conv import StreamState


class StreamEncoder:
    """Audio in pieces -> codes.

    ``latency`` is the seconds between a sample and the codes that hold it, at most: one frame.
    ``beam`` is as in :meth:`Codec.encode`; frames are searched one by one, so it adds no latency.
    """

    def __init__(
        self, codec: Codec, num_codebooks: int | None = None, batch_size: int = 1, beam: int = 1
    ) -> None:
        if beam < 1:
            raise CodecError(f"beam: 1 or more, not {beam}")
        self.beam = beam
        self.codec = codec
        self.num_codebooks = codec.resolve_num_codebooks(num_codebooks)
        self.latency = codec.hop_length / codec.sample_rate
        self._state = StreamState()
        parameter = next(codec.parameters())
        self._waiting = parameter.new_zeros(batch_size, 1, 0)

    @torch.inference_mode()
    def push(self, audio: Tensor) -> Tensor:
        """Audio ``[B, 1, n]``, ``n >= 0`` -> codes ``[B, K, f]`` of the frames it completes.

        Raises:
            CodecError: the shape does not fit this stream; its state is unharmed.
        """
        batch = self._waiting.shape[0]
        if audio.dim() != 3 or audio.shape[:2] != (batch, 1):
            raise CodecError(f"this stream takes [{batch}, 1, samples], not {list(audio.shape)}")
        joined = torch.cat([self._waiting, audio.to(self._waiting)], dim=-1)
        whole = joined.shape[-1] - joined.shape[-1] % self.codec.hop_length
        self._waiting = joined[..., whole:].clone()
        if whole == 0:
            return torch.zeros(batch, self.num_codebooks, 0, dtype=torch.long, device=joined.device)
        return self.codec.encode_frames(
            joined[..., :whole], self._state, self.num_codebooks, self.beam
        )

    def flush(self) -> Tensor:
        """The last, padded frame: codes ``[B, K, 0 or 1]``. The stream can be used afresh after."""
        missing = -self._waiting.shape[-1] % self.codec.hop_length
        codes = self.push(F.pad(self._waiting[..., :0], (0, missing)))
        self._state = StreamState()
        return codes


class StreamDecoder:
    """Codes in pieces -> audio.

    ``latency`` is the seconds of ``lookahead`` that the decoder waits before it speaks.
    """

    def __init__(self, codec: Codec, batch_size: int = 1) -> None:
        self.codec = codec
        self.latency = codec.lookahead * codec.hop_length / codec.sample_rate
        self._batch_size = batch_size
        self._start()

    def _start(self) -> None:
        self._state = StreamState()
        self._to_skip = self.codec.lookahead * self.codec.hop_length
        self._heard = False

    @torch.inference_mode()
    def push(self, codes: Tensor) -> Tensor:
        """Codes ``[B, K, f]``, ``f >= 0`` -> audio ``[B, 1, m]`` that is complete by now.

        Raises:
            CodecError: the codes do not fit the codec or this stream; its state is unharmed.
        """
        self.codec.check_codes(codes)
        if codes.shape[0] != self._batch_size:
            raise CodecError(f"this stream takes {self._batch_size} channels, not {codes.shape[0]}")
        if codes.shape[-1] == 0:
            return self._nothing()
        self._heard = True
        return self._skip(self.codec.decode_frames(codes, self._state))

    @torch.inference_mode()
    def flush(self) -> Tensor:
        """What was held back: audio ``[B, 1, m]``. The stream can be used afresh after."""
        if not self._heard or self.codec.lookahead == 0:
            rest = self._nothing()
        else:
            rest = self._skip(self.codec.decode_padding(self._batch_size, self._state))
        self._start()
        return rest

    def _skip(self, audio: Tensor) -> Tensor:
        skipped = min(self._to_skip, audio.shape[-1])
        self._to_skip -= skipped
        return audio[..., skipped:]

    def _nothing(self) -> Tensor:
        return next(self.codec.parameters()).new_zeros(self._batch_size, 1, 0)
