"""Microphone and loudspeaker, through the optional package sounddevice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocodec.audio import Samples

FILES_INSTEAD = "or use --input FILE and --output FILE"


def open_microphone(sample_rate: int, chunk_samples: int, stack: ExitStack) -> Iterator[Samples]:
    """Chunks ``[1, chunk_samples]``, without end. ``stack`` closes the device."""
    microphone = stack.enter_context(_open_device("InputStream", "microphone", sample_rate, 1))

    def chunks() -> Iterator[Samples]:
        while True:
            chunk, _ = microphone.read(chunk_samples)
            yield chunk.T.copy()

    return chunks()


def open_loudspeaker(
    sample_rate: int, channels: int, stack: ExitStack
) -> Callable[[Samples], object]:
    """A function that plays audio ``[C, n]``. ``stack`` closes the device."""
    speaker = stack.enter_context(
        _open_device("OutputStream", "loudspeaker", sample_rate, channels)
    )
    return lambda audio: speaker.write(audio.T.copy())


def _open_device(stream_class: str, name: str, sample_rate: int, channels: int) -> Any:
    """A sounddevice stream. CodecError if the package or the device is missing."""
    from audiocodec.errors import CodecError

    try:
        import sounddevice
    except ImportError:
        raise CodecError(
            f"the {name} needs the package sounddevice: pip install 'audiocodec[live]', "
            + FILES_INSTEAD
        ) from None
    except OSError as error:
        raise CodecError(
            f"the {name} needs PortAudio ({error}): apt install libportaudio2, {FILES_INSTEAD}"
        ) from None
    try:
        return getattr(sounddevice, stream_class)(
            samplerate=sample_rate, channels=channels, dtype="float32"
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CodecError(
            f"no {name} can be opened ({reason}): plug one in, {FILES_INSTEAD}"
        ) from None
