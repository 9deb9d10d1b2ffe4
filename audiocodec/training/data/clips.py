"""Single recordings of a run, to validate on or to inspect, of whatever kind they are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiocodec.audio import AudioReader, audio_info, load_audio
from audiocodec.corpus.packing.shards import PackedShard, is_shard
from audiocodec.corpus.reading import audio_blocks, audio_of, read_audio, resized
from audiocodec.corpus.utterance import Utterance

Recording = Path | Utterance
"""An audio file, a shard of a packed corpus, or an utterance of a corpus."""


def middle_of(recording: Recording, sample_rate: int, length: int) -> Tensor:
    """The middle ``length`` samples at ``sample_rate`` (Hz), ``[T]``, mono, padded if need be.

    Raises:
        CodecError: it cannot be read.
    """
    if isinstance(recording, Path) and is_shard(recording):
        shard = PackedShard(recording)
        start = max(0, (len(shard) - length) // 2)
        audio = _floats(shard, start, length)
    elif isinstance(recording, Utterance):
        audio = torch.from_numpy(read_audio(recording, sample_rate))
    else:
        audio = load_audio(recording, sample_rate)[0].mean(dim=0)
    start = max(0, (len(audio) - length) // 2)
    clip = audio[start : start + length]
    return torch.nn.functional.pad(clip, (0, length - len(clip)))


def seconds_of(recording: Recording, sample_rate: int) -> float:
    """Its length, by its header or the corpus. ``sample_rate`` (Hz) is that of packed shards.

    Raises:
        CodecError: it cannot be read.
    """
    if isinstance(recording, Path) and is_shard(recording):
        return len(PackedShard(recording)) / sample_rate
    if not isinstance(recording, Utterance):
        return audio_info(recording).seconds
    if recording.duration is not None:
        return recording.duration
    with audio_of(recording) as file:
        return max(0.0, file.num_samples / file.sample_rate - recording.offset)


def blocks_of(recording: Recording, sample_rate: int, seconds: float) -> Iterator[Tensor]:
    """The recording at ``sample_rate`` (Hz) in blocks ``[T]`` of ``seconds``, mono, from its
    beginning. The last one may be shorter.

    Raises:
        CodecError: it cannot be read.
    """
    size = round(seconds * sample_rate)
    if isinstance(recording, Path) and is_shard(recording):
        shard = PackedShard(recording)
        for start in range(0, len(shard), size):
            yield _floats(shard, start, size)
    elif isinstance(recording, Utterance):
        for samples in resized(audio_blocks(recording, sample_rate), size):
            yield torch.from_numpy(samples)
    else:
        with AudioReader(recording, sample_rate) as reader:
            for block in reader.blocks(seconds):
                yield torch.from_numpy(block).mean(dim=0)


def _floats(shard: PackedShard, start: int, length: int) -> Tensor:
    return torch.from_numpy(shard[start : start + length] / np.float32(32768))
