"""The header of a codec's codes: what a token file takes from a codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from audiocodec.errors import CodecError
from audiocodec.tokens.header import CONTEXT, FIXED, TokenHeader

if TYPE_CHECKING:
    from audiocodec.tokens.context import ContextModel


class Model(Protocol):
    """The properties of a codec that a header needs."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def hop_length(self) -> int: ...
    @property
    def codebook_sizes(self) -> tuple[int, ...]: ...
    @property
    def context(self) -> ContextModel | None: ...
    def resolve_num_codebooks(self, num_codebooks: int | None) -> int: ...


def token_header(
    codec: Model,
    num_codebooks: int | None = None,
    original_sample_rate: int | None = None,
    channels: int = 1,
    block_frames: int = 0,
    fingerprint: str | None = None,
    coding: str = FIXED,
) -> TokenHeader:
    """The header of a token file with codes of ``codec``.

    Args:
        num_codebooks: codebooks in the file; ``None`` for all.
        original_sample_rate: of the recording, in Hz; ``None`` for the codec's.
        channels: of the recording.
        block_frames: frames per block; 0 for three seconds, at most 255 frames.
        fingerprint: ``None`` for the codec's. A codec that was never saved has none; its codes can
            be written with another one, but then no codec will decode the file.
        coding: ``fixed``, or ``context``, which takes the codec's context model.

    Raises:
        CodecError: more codebooks than the codec has, a codec without a fingerprint, or no context
            model where one is needed.
    """
    if coding == CONTEXT and codec.context is None:
        raise CodecError(
            f"model {codec.name} has no context model; use --coding fixed, or make one with "
            "codec train-context"
        )
    num_codebooks = codec.resolve_num_codebooks(num_codebooks)
    return TokenHeader(
        model=codec.name,
        fingerprint=codec.fingerprint if fingerprint is None else fingerprint,
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        original_sample_rate=original_sample_rate or codec.sample_rate,
        channels=channels,
        codebook_sizes=codec.codebook_sizes[:num_codebooks],
        block_frames=block_frames,
        coding=coding,
        context=codec.context.fingerprint if coding == CONTEXT and codec.context else "",
    )
