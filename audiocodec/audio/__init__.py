"""Audio files and pipes: reading, writing and resampling, one interface for every format.

The public names are below. Each is imported when it is first used, so that `codec --help`, which
needs the names of the raw formats only, imports neither NumPy nor PyTorch.

To add a format for reading, write an :class:`~audiocodec.audio.source.AudioFormat` and add it to
:data:`audiocodec.audio.formats.FORMATS`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .file_writer import WRITE_FORMATS, AudioWriter
    from .formats import READ_SUFFIXES, open_writer
    from .load import find_audio, load_audio, save_audio
    from .pipe_writer import PipeWriter
    from .raw import SAMPLE_FORMATS, RawFormat
    from .reader import AudioInfo, AudioReader, audio_info
    from .resampling import Resampler
    from .source import Samples
    from .writer import Writer

# public name -> the module that it lives in
_HOME = {
    "READ_SUFFIXES": "formats",
    "SAMPLE_FORMATS": "raw",
    "WRITE_FORMATS": "file_writer",
    "AudioInfo": "reader",
    "AudioReader": "reader",
    "AudioWriter": "file_writer",
    "PipeWriter": "pipe_writer",
    "RawFormat": "raw",
    "Resampler": "resampling",
    "Samples": "source",
    "Writer": "writer",
    "audio_info": "reader",
    "find_audio": "load",
    "load_audio": "load",
    "open_writer": "formats",
    "save_audio": "load",
}

__all__ = [
    "READ_SUFFIXES",
    "SAMPLE_FORMATS",
    "WRITE_FORMATS",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "PipeWriter",
    "RawFormat",
    "Resampler",
    "Samples",
    "Writer",
    "audio_info",
    "find_audio",
    "load_audio",
    "open_writer",
    "save_audio",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'audiocodec.audio' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
