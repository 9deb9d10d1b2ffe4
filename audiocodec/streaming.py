"""Streams: push pieces of any length, get what is complete.

A stream owns its state; one codec serves any number of streams. What the pushes return, joined, is
what :meth:`Codec.encode` and :meth:`Codec.decode` give for the whole signal. A push that is refused
changes nothing: the stream goes on as if it had not happened.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.inference import inference
from audiocodec.inputs import audio_tensor, code_tensor
from audiocodec.modules.conv import StreamState

FADE = 0.7
"""What each lost frame keeps of the one before: -3 dB, so -15 dB in a tenth of a second."""


class _Stream:
    """What both directions share: memory that can be kept, taken up elsewhere, or forgotten."""

    latency: float
    """Seconds between a piece and what it becomes, at most. Of encoder and decoder together, the
    delay of a call, apart from the time that computing takes."""

    def __init__(self, codec: Codec, network: nn.Module, batch_size: int) -> None:
        self.codec = codec
        self.batch_size = batch_size
        self._network = network
        self.reset()

    @property
    def device(self) -> torch.device:
        """Where the stream computes: where its codec's weights are."""
        return self.codec.device

    def reset(self) -> None:
        """Forget everything: the next push begins a new signal."""
        self._state = StreamState()
        self._values = self._fresh()

    def save_state(self) -> dict[str, Tensor]:
        """What the stream remembers, as copies, by names that depend on the architecture alone.

        ``torch.save`` and safetensors hold it. :meth:`load_state` takes it up, also in another
        process, and goes on with the same codes or audio.
        """
        return {
            "model": torch.tensor(
                list(self.codec.fingerprint.encode()), dtype=torch.uint8, device="cpu"
            ),
            **{name: value.clone() for name, value in self._values.items()},
            **{f"layer.{name}": x for name, x in self._state.named(self._network).items()},
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on where :meth:`save_state` was called.

        Raises:
            CodecError: the state of a stream of the other direction, of another model, batch size
                or precision, or no state at all; this stream is as it was.
        """
        found = dict(state)
        stated = found.pop("model", None)
        layers = {n.removeprefix("layer."): found.pop(n) for n in state if n.startswith("layer.")}
        tensors = all(isinstance(value, Tensor) for value in state.values())
        if stated is None or not tensors or found.keys() != self._values.keys():
            raise CodecError(f"not the state of a {type(self).__name__}")
        model = bytes(stated.tolist()).decode(errors="replace")
        if model != self.codec.fingerprint:
            raise CodecError(
                f"a state of model {model or 'never saved'}; this stream's model is "
                f"{self.codec.name} ({self.codec.fingerprint or 'never saved'})"
            )
        for name, value in self._values.items():
            if found[name].dtype != value.dtype:
                raise CodecError(f"a state in {found[name].dtype}; this stream has {value.dtype}")
            if value.dim() == 3 and len(found[name]) != self.batch_size:
                raise CodecError(
                    f"a state of batch size {len(found[name])}; this stream has {self.batch_size}"
                )
        device = self.device
        try:
            memory = StreamState.of_named(
                self._network, {n: x.to(device) for n, x in layers.items()}, self.batch_size
            )
        except ValueError as error:
            raise CodecError(f"a state of another architecture: {error}") from None
        self._state = memory
        self._values = {
            name: found[name].to(value.device, copy=True) for name, value in self._values.items()
        }

    def _fresh(self) -> dict[str, Tensor]:
        """What is remembered beside the layers' columns, before anything was pushed."""
        raise NotImplementedError


class StreamEncoder(_Stream):
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
        self.num_codebooks = codec.resolve_num_codebooks(num_codebooks)
        self.latency = codec.hop_length / codec.sample_rate
        super().__init__(codec, codec.encoder, batch_size)

    def _fresh(self) -> dict[str, Tensor]:
        parameter = next(self.codec.parameters())
        return {"waiting": parameter.new_zeros(self.batch_size, 1, 0)}

    @inference
    def push(self, audio: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """Audio ``[B, 1, n]``, ``n >= 0`` -> codes ``[B, K, f]`` of the frames it completes.

        A tensor or array of any of the shapes and types that :meth:`Codec.encode` takes.

        Raises:
            CodecError: not float audio of this stream's shape, or samples that are NaN,
                infinite or too large to compute with; the stream is as it was.
        """
        audio = audio_tensor(audio)
        if len(audio) != self.batch_size:
            raise CodecError(
                f"this stream takes [{self.batch_size}, 1, samples], not {list(audio.shape)}"
            )
        # One sum says that all is finite; one that overflowed says nothing.
        if not math.isfinite(audio.sum().item()) and not bool(audio.isfinite().all()):
            raise CodecError("a NaN or infinite sample was pushed; samples lie in [-1, 1]")
        waiting = self._values["waiting"]
        joined = torch.cat([waiting, audio.to(waiting)], dim=-1)
        whole = joined.shape[-1] - joined.shape[-1] % self.codec.hop_length
        codes = joined.new_zeros(self.batch_size, self.num_codebooks, 0, dtype=torch.long)
        state = self._state.copy()
        if whole:
            codes = self.codec.encode_frames(
                joined[..., :whole], state, self.num_codebooks, self.beam
            )
        self._state, self._values = state, {"waiting": joined[..., whole:].clone()}
        return codes

    def flush(self) -> Tensor:
        """The last, padded frame: codes ``[B, K, 0 or 1]``. The stream can be used afresh after."""
        waiting = self._values["waiting"]
        codes = self.push(F.pad(waiting[..., :0], (0, -waiting.shape[-1] % self.codec.hop_length)))
        self.reset()
        return codes


class StreamDecoder(_Stream):
    """Codes in pieces -> audio.

    ``latency`` is the seconds of ``lookahead`` that the decoder is behind its input.
    """

    def __init__(self, codec: Codec, batch_size: int = 1) -> None:
        self.latency = codec.lookahead * codec.hop_length / codec.sample_rate
        self._silence: Tensor | None = None
        super().__init__(codec, codec.decoder, batch_size)

    def _fresh(self) -> dict[str, Tensor]:
        latents = self.codec.padding(self.batch_size)
        return {
            # frames to hold back, frames decoded, frames lost since the last one that arrived
            "counts": torch.tensor([self.codec.lookahead, 0, 0], device="cpu"),
            # the last frame that arrived [B, D, 0 or 1]
            "latents": latents[..., :0],
        }

    @inference
    def push(self, codes: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """Codes ``[B, K, f]``, ``f >= 0`` -> audio ``[B, 1, m]`` that is complete by now.

        A tensor or array of any of the shapes and types that :meth:`Codec.decode` takes.

        Raises:
            CodecError: the codes do not fit the codec or this stream; the stream is as it was.
        """
        codes = code_tensor(codes, self.codec.codebook_sizes).to(self.device)
        if len(codes) != self.batch_size:
            raise CodecError(f"this stream takes {self.batch_size} channels, not {len(codes)}")
        if codes.shape[-1] == 0:
            return self.codec.padding(self.batch_size).new_zeros(self.batch_size, 1, 0)
        latents = self.codec.quantizer.decode(codes)
        return self._decode_latents(latents, last=latents[..., -1:].clone(), lost=0)

    @inference
    def conceal(self, frames: int) -> Tensor:
        """Audio ``[B, 1, m]`` in place of ``frames`` frames whose codes were lost on the way.

        The last frame that arrived is held and fades, :data:`FADE` a frame, into what the codec
        takes for silence; it runs through the same layers, so neither the gap nor the next push
        clicks. Lengths are those of a push of so many frames.

        Raises:
            CodecError: ``frames`` is not a whole number, 0 or more; the stream is as it was.
        """
        if not hasattr(frames, "__index__") or frames < 0:
            raise CodecError(f"frames to conceal: 0 or more, not {frames}")
        if frames == 0:
            return self.codec.padding(self.batch_size).new_zeros(self.batch_size, 1, 0)
        if self._silence is None:
            self._silence = self.codec.silence()
        last = self._values["latents"]
        lost = int(self._values["counts"][2])
        held = last if last.shape[-1] else self._silence.expand(self.batch_size, -1, -1)
        ages = torch.arange(lost + 1, lost + frames + 1, device=held.device)
        latents = self._silence + (held - self._silence) * FADE ** ages.to(held)
        return self._decode_latents(latents, last=last, lost=lost + frames)

    @inference
    def flush(self) -> Tensor:
        """What was held back: audio ``[B, 1, m]``. The stream can be used afresh after."""
        rest = self.codec.padding(self.batch_size)
        if not self._values["counts"][1]:
            rest = rest[..., :0]
        audio = self._decode_latents(rest, last=self._values["latents"], lost=0)
        self.reset()
        return audio

    def _decode_latents(self, latents: Tensor, last: Tensor, lost: int) -> Tensor:
        """The audio of ``latents [B, D, f]``, less what is held back for the look-ahead."""
        if latents.shape[-1] == 0:
            return latents.new_zeros(self.batch_size, 1, 0)
        hold, decoded, _ = self._values["counts"].tolist()
        state = self._state.copy()
        late = self.codec.decode_frames(latents, state)
        skipped = min(hold, latents.shape[-1])
        counts = torch.tensor([hold - skipped, decoded + latents.shape[-1], lost], device="cpu")
        self._state, self._values = state, {"counts": counts, "latents": last}
        return late[..., skipped * self.codec.hop_length :]
