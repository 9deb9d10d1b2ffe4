"""audiocodec: a small, streaming neural speech codec whose bottleneck is residual SimVQ.

    from audiocodec import load_audio, load_codec, save_audio

    codec = load_codec("speech_16khz")
    audio, _ = load_audio("in.wav", sample_rate=codec.sample_rate)     # float32 [C, T]
    codes = codec.encode(audio[:, None], num_codebooks=6)              # int64 [C, K, F]
    save_audio("out.wav", codec.decode(codes, audio.shape[-1])[:, 0], codec.sample_rate)

The public names are below. Each is imported when it is first used, so `import audiocodec` itself
is quick and reads no torch; everything for training is in `audiocodec.training`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .audio import find_audio, load_audio, save_audio
    from .checkpoint import load_codec, save_codec
    from .codec import Codec, CodecConfig
    from .errors import CodecError
    from .evaluation import evaluate
    from .files import decode_file, encode_file
    from .runtime import RuntimeCodec
    from .streaming import StreamDecoder, StreamEncoder
    from .tokens import (
        TokenFile,
        TokenHeader,
        TokenWriter,
        pack,
        save_codes,
        token_header,
        unpack,
    )

    __version__: str

# public name -> the module that it lives in
_HOME = {
    "Codec": "codec",
    "CodecConfig": "codec",
    "CodecError": "errors",
    "RuntimeCodec": "runtime",
    "StreamDecoder": "streaming",
    "StreamEncoder": "streaming",
    "TokenFile": "tokens",
    "TokenHeader": "tokens",
    "TokenWriter": "tokens",
    "decode_file": "files",
    "encode_file": "files",
    "evaluate": "evaluation",
    "find_audio": "audio",
    "load_audio": "audio",
    "load_codec": "checkpoint",
    "pack": "tokens",
    "save_audio": "audio",
    "save_codec": "checkpoint",
    "save_codes": "tokens",
    "token_header": "tokens",
    "unpack": "tokens",
}

__all__ = [
    "Codec",
    "CodecConfig",
    "CodecError",
    "RuntimeCodec",
    "StreamDecoder",
    "StreamEncoder",
    "TokenFile",
    "TokenHeader",
    "TokenWriter",
    "__version__",
    "decode_file",
    "encode_file",
    "evaluate",
    "find_audio",
    "load_audio",
    "load_codec",
    "pack",
    "save_audio",
    "save_codec",
    "save_codes",
    "token_header",
    "unpack",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("audiocodec")
    if name not in _HOME:
        raise AttributeError(f"module 'audiocodec' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
