"""Audio and pictures inside an HTML page, as addresses that hold the data."""

from __future__ import annotations

import base64
import io

import numpy as np
import soundfile
from numpy.typing import NDArray

OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


def audio_address(
    signal: NDArray[np.floating], sample_rate: int, compression_level: float | None = None
) -> str:
    """A signal ``[T]`` as the address of an Ogg file: Opus, or Vorbis at rates that Opus lacks.

    Args:
        compression_level: from 0, the best audio, to 1, the smallest file. libsndfile's own gives
            30 kbps of Opus at 16 kHz, and 0.4 gives 160.
    """
    file = io.BytesIO()
    subtype = "OPUS" if sample_rate in OPUS_RATES else "VORBIS"
    with soundfile.SoundFile(
        file,
        "w",
        sample_rate,
        channels=1,
        format="OGG",
        subtype=subtype,
        compression_level=compression_level,
    ) as writer:
        for start in range(0, len(signal), sample_rate):  # libsndfile fails on long Vorbis writes
            writer.write(signal[start : start + sample_rate].clip(-1, 1))
    return data_address(file.getvalue(), "audio/ogg")


def data_address(data: bytes, kind: str) -> str:
    """The address of data of a media type, such as ``"image/png"``."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
