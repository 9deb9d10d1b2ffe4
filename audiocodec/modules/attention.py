"""Causal attention over a window of the past, whose memory belongs to the caller.

A convolution of a few taps sees a fixed neighbourhood; attention finds what is alike in the last
second (Vaswani et al. 2017, arXiv 1706.03762). Positions are rotary (Su et al. 2021, arXiv
2104.09864): a product of a query and a key depends on how far they are apart, not on where in the
stream they are, so that a stream has no end. Queries and keys are normalised in each head (Henry et
al. 2020, arXiv 2010.04245), so that the level of the audio does not decide how sharp attention is.

Shapes: ``B`` batch, ``C`` channels, ``T`` columns, ``H`` heads, ``d`` channels of a head.
"""

from typing import Annotated, Any

import pydantic
import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.config import Config
from audiocodec.modules.conv import CausalConv1d, StreamedLayer, StreamState, silence

MAX_COLUMNS = 256
"""Queries computed together: time and memory grow with the length of the audio, not its square."""

ROTARY_BASE = 10_000.0
NORM_EPSILON = 1e-5
"""Added to mean squares of about 1; silence has no direction."""

Blocks = Annotated[int, pydantic.Field(ge=0, le=64)]


class AttentionConfig(Config):
    """Attention at the frame rate. By default there is none."""

    encoder_blocks: Blocks = pydantic.Field(0, description="blocks of attention in the encoder")
    decoder_blocks: Blocks = pydantic.Field(0, description="blocks of attention in the decoder")
    window: Annotated[int, pydantic.Field(ge=2, le=4096)] = pydantic.Field(
        64, description="frames that a frame attends to, itself included; no more than in a segment"
    )
    heads: Annotated[int, pydantic.Field(ge=1, le=256)] = 6

    @property
    def blocks(self) -> int:
        """In both networks."""
        return self.encoder_blocks + self.decoder_blocks

    def computation(self) -> dict[str, Any]:
        """See :meth:`audiocodec.codec.CodecConfig.computation`; empty without attention."""
        if not self.blocks:
            return {}
        return {
            "encoder_blocks": self.encoder_blocks,
            "decoder_blocks": self.decoder_blocks,
            "window": self.window,
            "heads": self.heads,
        }


class CausalAttention(StreamedLayer):
    """Attention of each column to itself and the ``window - 1`` before, added to the input.

    ``[B, C, T]`` -> ``[B, C, T]``. A fresh block adds nothing. The state has keys and values of the
    columns before, and a channel that is 1 where there was one: zeros are the start of a stream.
    """

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.project = CausalConv1d(channels, 3 * channels, 1)
        self.output = CausalConv1d(channels, channels, 1)
        silence(self.output.conv)
        self.in_channels, self.context = 2 * channels + 1, window - 1

    def forward(self, x: Tensor, state: StreamState | None = None) -> Tensor:
        queries, keys, values = self.project(x).chunk(3, dim=1)
        queries, keys = self._normalised(queries), self._normalised(keys)
        memory = F.pad(torch.cat([keys, values], dim=1), (0, 0, 0, 1), value=1.0)
        if state is not None:
            memory = state.prepend(self.name, memory, self.context)
        if torch.jit.is_tracing():  # type: ignore[attr-defined]
            return x + self.output(self._attend(queries, memory))
        past = memory.shape[-1] - x.shape[-1]
        found = []
        for start in range(0, x.shape[-1], MAX_COLUMNS):
            piece = queries[..., start : start + MAX_COLUMNS]
            end = past + start + piece.shape[-1]
            first = max(0, past + start - self.context)
            found.append(self._attend(piece, memory[..., first:end]))
        return x + self.output(torch.cat(found, dim=-1))

    def _attend(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Queries ``[B, C, T]`` and a memory ``[B, 2 C + 1, L]`` that ends with theirs: ``[B, C,
        T]``."""
        channels = queries.shape[1]
        keys, values = memory[:, :channels], memory[:, channels : 2 * channels]
        positions = torch.arange(memory.shape[-1], device=memory.device)
        newest = positions[memory.shape[-1] - queries.shape[-1] :]
        ages = newest.unsqueeze(1) - positions
        visible = (ages >= 0) & (ages < self.window) & (memory[:, -1:] > 0)
        result = F.scaled_dot_product_attention(
            rotated(self._by_head(queries), newest).transpose(2, 3),
            rotated(self._by_head(keys), positions).transpose(2, 3),
            self._by_head(values).transpose(2, 3),
            attn_mask=visible.unsqueeze(1),
        )
        return result.transpose(2, 3).flatten(1, 2)

    def _by_head(self, x: Tensor) -> Tensor:
        """``[B, C, T]`` -> ``[B, H, d, T]``."""
        # Not `unflatten`, which an ONNX graph would have with the length of the traced piece.
        return x.reshape(x.shape[0], self.heads, -1, x.shape[-1])

    def _normalised(self, x: Tensor) -> Tensor:
        """``[B, C, T]`` with a mean square of 1 in each head and column."""
        heads = self._by_head(x)
        mean = heads.square().mean(dim=2, keepdim=True)
        return (heads * (mean + NORM_EPSILON).rsqrt()).flatten(1, 2)


def rotated(x: Tensor, positions: Tensor) -> Tensor:
    """Rotate ``x [B, H, d, T]`` by the positions ``[T]``: channel pairs ``(i, i + d / 2)``."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    first, second = x.chunk(2, dim=2)
    half = first.shape[2]
    steps = torch.arange(half, device=x.device, dtype=dtype).unsqueeze(1) / half
    angles = ROTARY_BASE**-steps * positions.to(dtype)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=2)
