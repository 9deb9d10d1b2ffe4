"""Streams: push pieces of any length, get what is complete.

A stream owns its state; one codec serves any number of streams. The results of all pushes, joined,
equal those of :meth:`RuntimeCodec.encode` and :meth:`RuntimeCodec.decode` for the whole signal. A
push that raises an error leaves the stream unchanged.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.errors import CodecError
from audiocodec.inference import inference
from audiocodec.inputs import audio_tensor, check_beam, code_tensor
from audiocodec.modules.conv import StateShapes, StreamState
from audiocodec.runtime import RuntimeCodec

FADE = 0.7
"""Factor from one lost frame to the next: -3 dB, so -15 dB in a tenth of a second."""


class _Stream:
    """What both directions share: a state that can be saved, loaded and reset."""

    latency: float
    """Seconds from an input to its output, at most, without the time for computing. The delay of
    a call is the sum over encoder and decoder."""

    def __init__(self, codec: RuntimeCodec, batch_size: int, shapes: StateShapes) -> None:
        self.codec = codec
        self.batch_size = batch_size
        self._shapes = shapes
        self.reset()

    @property
    def device(self) -> torch.device:
        """Where the stream computes: its codec's device."""
        return self.codec.device

    def reset(self) -> None:
        """Forget the signal so far: the next push begins a new one."""
        self._state = StreamState()
        self._values = self._fresh()

    def save_state(self) -> dict[str, Tensor]:
        """Copies of the stream's state, by names that depend on the architecture alone.

        They can be stored with ``torch.save`` or safetensors. After :meth:`load_state`, in this or
        another process, a stream continues with the same codes or audio.
        """
        model = list(self.codec.fingerprint.encode())
        return {
            "model": torch.tensor(model, dtype=torch.uint8, device="cpu"),
            **{name: value.clone() for name, value in self._values.items()},
            **{f"layer.{name}": x.clone() for name, x in self._state.columns.items()},
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state of :meth:`save_state`.

        Raises:
            CodecError: the state of a stream of the other direction, of another model, batch size
                or precision, or no state at all; this stream is unchanged.
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
        self._check_layers(layers)
        self._state = StreamState({n: x.to(self.device, copy=True) for n, x in layers.items()})
        self._values = {
            name: found[name].to(value.device, copy=True) for name, value in self._values.items()
        }

    def _check_layers(self, layers: Mapping[str, Tensor]) -> None:
        """Raise :class:`CodecError` for columns of another network; a fresh stream has none."""
        for name in sorted(layers.keys() | self._shapes.keys()) if layers else ():
            found = tuple(layers[name].shape) if name in layers else None
            due = (self.batch_size, *self._shapes[name]) if name in self._shapes else None
            if found != due:
                raise CodecError(
                    f"a state of another architecture: `{name}` is {found or 'absent'}, "
                    f"expected {due or 'none'}"
                )

    def _fresh(self) -> dict[str, Tensor]:
        """The state beside the layers' columns, before the first push."""
        raise NotImplementedError

    def _zeros(self, *shape: int) -> Tensor:
        """``[B, *shape]`` on the codec's device and in its precision."""
        return torch.zeros(self.batch_size, *shape, device=self.device, dtype=self.codec.dtype)


class StreamEncoder(_Stream):
    """Audio in pieces -> codes.

    ``latency`` is the seconds between a sample and the codes that hold it, at most: one frame.
    ``beam`` is as in :meth:`RuntimeCodec.encode`; each frame is searched by itself, so it adds no
    latency.
    """

    def __init__(
        self,
        codec: RuntimeCodec,
        num_codebooks: int | None = None,
        batch_size: int = 1,
        beam: int = 1,
    ) -> None:
        check_beam(beam)
        self.beam = beam
        self.num_codebooks = codec.resolve_num_codebooks(num_codebooks)
        self.latency = codec.hop_length / codec.sample_rate
        super().__init__(codec, batch_size, codec.encoder_state_shapes)

    def _fresh(self) -> dict[str, Tensor]:
        return {"waiting": self._zeros(1, 0)}

    @inference
    def push(self, audio: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """Audio ``[B, 1, n]``, ``n >= 0`` -> codes ``[B, K, f]`` of the frames it completes.

        Shapes and types as in :meth:`RuntimeCodec.encode`.

        Raises:
            CodecError: not float audio of this stream's shape, or samples that are NaN,
                infinite or too large to compute with; the stream is unchanged.
        """
        audio = audio_tensor(audio)
        if len(audio) != self.batch_size:
            raise CodecError(
                f"this stream takes [{self.batch_size}, 1, samples], not {list(audio.shape)}"
            )
        # A finite sum shows that all samples are finite; a sum may also overflow.
        if not math.isfinite(audio.sum().item()) and not bool(audio.isfinite().all()):
            raise CodecError("a NaN or infinite sample was pushed; samples lie in [-1, 1]")
        waiting = self._values["waiting"]
        joined = torch.cat([waiting, audio.to(waiting)], dim=-1)
        whole = joined.shape[-1] - joined.shape[-1] % self.codec.hop_length
        codes = joined.new_zeros(self.batch_size, self.num_codebooks, 0, dtype=torch.long)
        state = self._state.copy()
        if whole:
            latents = self.codec.engine.encode(joined[..., :whole], state)
            codes = self.codec.tables.encode(latents, self.num_codebooks, self.beam)
        self._state, self._values = state, {"waiting": joined[..., whole:].clone()}
        return codes

    def flush(self) -> Tensor:
        """The last, padded frame: codes ``[B, K, 0 or 1]``. Afterwards the stream is as new."""
        waiting = self._values["waiting"]
        codes = self.push(F.pad(waiting[..., :0], (0, -waiting.shape[-1] % self.codec.hop_length)))
        self.reset()
        return codes


class StreamDecoder(_Stream):
    """Codes in pieces -> audio.

    ``latency`` is the seconds of ``lookahead`` that the decoder is behind its input.
    """

    def __init__(self, codec: RuntimeCodec, batch_size: int = 1) -> None:
        self.latency = codec.lookahead * codec.hop_length / codec.sample_rate
        self._silence: Tensor | None = None
        super().__init__(codec, batch_size, codec.decoder_state_shapes)

    def _fresh(self) -> dict[str, Tensor]:
        return {
            # frames to hold back, frames decoded, frames lost since the last one that arrived
            "counts": torch.tensor([self.codec.lookahead, 0, 0], device="cpu"),
            # the last frame that arrived [B, D, 0 or 1]
            "latents": self._zeros(self.codec.latent_dim, 0),
        }

    @inference
    def push(self, codes: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """Codes ``[B, K, f]``, ``f >= 0`` -> audio ``[B, 1, m]`` that is complete by now.

        Shapes and types as in :meth:`RuntimeCodec.decode`.

        Raises:
            CodecError: the codes do not fit the codec or this stream; the stream is unchanged.
        """
        codes = code_tensor(codes, self.codec.codebook_sizes).to(self.device)
        if len(codes) != self.batch_size:
            raise CodecError(f"this stream takes {self.batch_size} channels, not {len(codes)}")
        if codes.shape[-1] == 0:
            return self._zeros(1, 0)
        latents = self.codec.tables.decode(codes)
        return self._decode_latents(latents, last=latents[..., -1:].clone(), lost=0)

    @inference
    def conceal(self, frames: int) -> Tensor:
        """Audio ``[B, 1, m]`` in place of ``frames`` frames whose codes were lost.

        The latents of the last frame that arrived are repeated and fade by :data:`FADE` a frame
        into those of silence. They run through the same layers, so neither the gap nor the next
        push clicks. Lengths are those of a push of the same number of frames.

        Raises:
            CodecError: ``frames`` is not a whole number, 0 or more; the stream is unchanged.
        """
        if not hasattr(frames, "__index__") or frames < 0:
            raise CodecError(f"frames to conceal: 0 or more, not {frames}")
        if frames == 0:
            return self._zeros(1, 0)
        if self._silence is None:
            second = self._zeros(1, round(self.codec.frame_rate) * self.codec.hop_length)
            self._silence = self.codec.latents(second[:1])[..., -1:]
        last = self._values["latents"]
        lost = int(self._values["counts"][2])
        held = last if last.shape[-1] else self._silence.expand(self.batch_size, -1, -1)
        ages = torch.arange(lost + 1, lost + frames + 1, device=held.device)
        latents = self._silence + (held - self._silence) * FADE ** ages.to(held)
        return self._decode_latents(latents, last=last, lost=lost + frames)

    @inference
    def flush(self) -> Tensor:
        """The rest: audio ``[B, 1, m]``. Afterwards the stream is as new."""
        rest = self._zeros(self.codec.latent_dim, self.codec.lookahead)
        if not self._values["counts"][1]:
            rest = rest[..., :0]
        audio = self._decode_latents(rest, last=self._values["latents"], lost=0)
        self.reset()
        return audio

    def _decode_latents(self, latents: Tensor, last: Tensor, lost: int) -> Tensor:
        """The audio of ``latents [B, D, f]``, without the look-ahead of the first frames."""
        if latents.shape[-1] == 0:
            return latents.new_zeros(self.batch_size, 1, 0)
        hold, decoded, _ = self._values["counts"].tolist()
        state = self._state.copy()
        audio = self.codec.engine.decode(latents, state)
        skipped = min(hold, latents.shape[-1])
        counts = torch.tensor([hold - skipped, decoded + latents.shape[-1], lost], device="cpu")
        self._state, self._values = state, {"counts": counts, "latents": last}
        return audio[..., skipped * self.codec.hop_length :]
