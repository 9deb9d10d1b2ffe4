"""Other codecs as baselines by their command-line programs: Opus, Speex, Codec 2.

A setting is ``opus:6k`` (bits per second), ``speex:4`` (quality, 0 to 10, wideband) or
``codec2:3200`` (mode). Debian has the programs in `opus-tools`, `speex` and `codec2`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiocodec.audio import load_audio
from audiocodec.errors import CodecError
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.scoring import Pair

RATE = 16_000

Signal = NDArray[np.float32]


class Coded(NamedTuple):
    """One channel, coded: the reconstruction ``[T]``, bytes of packets and of the file, seconds."""

    reconstruction: Signal
    payload_bytes: int
    file_bytes: int
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class System:
    """A codec with a command line.

    Attributes:
        programs: the encoder and the decoder, which must be installed.
        package: of Debian, which has them.
        pattern: of settings, and ``example`` one of them.
        encode, decode: the command lines, in a folder with `in.wav` or `in.raw`.
        header_packets: packets of the Ogg file that hold no audio; None for a file without Ogg.
        sample_rate: of what the programs take, in Hz.
    """

    programs: tuple[str, str]
    package: str
    pattern: str
    example: str
    encode: Callable[[str], list[str]]
    decode: Callable[[str], list[str]]
    header_packets: int | None = 2
    sample_rate: int = RATE


SYSTEMS = {
    "opus": System(
        ("opusenc", "opusdec"),
        "opus-tools",
        r"\d+(\.\d+)?k?",
        "6k",
        lambda setting: ["--speech", "--bitrate", setting.rstrip("k"), "in.wav", "coded"],
        lambda setting: ["--rate", str(RATE), "coded", "out.wav"],
    ),
    "speex": System(
        ("speexenc", "speexdec"),
        "speex",
        r"\d|10",
        "4",
        lambda setting: ["--wideband", "--quality", setting, "in.wav", "coded"],
        lambda setting: ["coded", "out.wav"],
    ),
    "codec2": System(
        ("c2enc", "c2dec"),
        "codec2",
        r"3200|2400|1600|1400|1300|1200|700C|450",
        "3200",
        lambda setting: [setting, "in.raw", "coded"],
        lambda setting: [setting, "coded", "out.raw"],
        header_packets=None,
        sample_rate=RATE // 2,
    ),
}
"""All systems by name."""


@dataclass(frozen=True)
class ProgramBaseline:
    """A system with a setting.

    Attributes:
        name: as it was written, such as ``opus:6k``.
        sample_rate: of the reference and of the reconstruction, in Hz.
    """

    name: str
    system: System
    setting: str
    sample_rate: int = RATE

    @property
    def missing(self) -> str | None:
        """A line on a program that is not installed, or None."""
        for program in self.system.programs:
            if shutil.which(program) is None:
                return (
                    f"{self.name}: skipped, there is no program {program}; "
                    f"apt-get install {self.system.package}"
                )
        return None

    def code(self, audio: Signal) -> Coded:
        """Encode and decode one channel ``[T]`` at 16 kHz; the result has its length.

        Raises:
            CodecError: a program failed.
        """
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            started = time.perf_counter()
            _write(folder, audio, self.system)
            self._run(0, self.system.encode(self.setting), folder)
            encoded = time.perf_counter()
            self._run(1, self.system.decode(self.setting), folder)
            decoded = _read(folder, self.system)
            finished = time.perf_counter()
            data = (folder / "coded").read_bytes()
        skipped = self.system.header_packets
        payload = len(data) if skipped is None else sum(list(ogg_packets(data))[skipped:])
        fitted = np.zeros_like(audio)
        fitted[: len(decoded)] = decoded[: len(audio)]
        return Coded(fitted, payload, len(data), encoded - started, finished - encoded)

    def reconstruct(self, audio: Signal) -> Signal:
        """One channel ``[T]`` at 16 kHz, encoded and decoded."""
        return self.code(audio).reconstruction

    def code_file(self, file: Path) -> list[Pair[Row]]:
        """Encode and decode each channel of a file; a list of one pair, without scores.

        Raises:
            CodecError: the file cannot be read, or a program failed.
        """
        reference, _ = load_audio(file, self.sample_rate)
        channels, length = reference.shape
        coded = [self.code(channel) for channel in reference.numpy()] if length else []
        row = Row(str(file), length / self.sample_rate, channels, num_codebooks=0)
        if coded:
            span = channels * row.seconds
            row.payload_kbps = 8e-3 * sum(each.payload_bytes for each in coded) / span
            row.file_kbps = 8e-3 * sum(each.file_bytes for each in coded) / span
            row.encode_factor = sum(each.encode_seconds for each in coded) / span
            row.decode_factor = sum(each.decode_seconds for each in coded) / span
        decoded = [each.reconstruction for each in coded]
        reconstruction = np.stack(decoded) if decoded else np.zeros_like(reference.numpy())
        return [Pair(row, reconstruction, reference.numpy(), self.sample_rate)]

    def _run(self, which: int, arguments: Sequence[str], folder: Path) -> None:
        program = self.system.programs[which]
        result = subprocess.run([program, *arguments], cwd=folder, capture_output=True)
        if result.returncode:
            lines = result.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise CodecError(f"{self.name}: {program} failed: {lines[-1]}")


def ogg_packets(data: bytes) -> Iterator[int]:
    """The sizes of an Ogg file's packets (RFC 3533: pages of segments of up to 255 bytes)."""
    at = size = 0
    while data[at : at + 4] == b"OggS":
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        for segment in lacing:
            size += segment
            if segment < 255:
                yield size
                size = 0
        at += 27 + len(lacing) + sum(lacing)


def _write(folder: Path, audio: Signal, system: System) -> None:
    if system.sample_rate != RATE:
        audio = soxr.resample(audio, RATE, system.sample_rate)
    if system.header_packets is None:
        samples = (audio.clip(-1, 1) * 32767).astype("<i2")
        (folder / "in.raw").write_bytes(samples.tobytes())
    else:
        soundfile.write(folder / "in.wav", audio, RATE, "PCM_16")


def _read(folder: Path, system: System) -> Signal:
    rate: int = system.sample_rate
    if system.header_packets is None:
        samples = np.fromfile(folder / "out.raw", "<i2").astype(np.float32)
        audio: Signal = samples / np.float32(32768)
    else:
        audio, rate = soundfile.read(folder / "out.wav", dtype="float32")
    resampled: Signal = audio if rate == RATE else soxr.resample(audio, rate, RATE)
    return resampled
