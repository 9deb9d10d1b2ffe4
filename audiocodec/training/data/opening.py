"""The audio of a run as a source of segments: decoded, packed or streamed."""

from pathlib import Path

import torch

from audiocodec.corpus.packing.shards import PackedSettings, PackedShard, is_packed, is_shard
from audiocodec.corpus.sources.folder import FolderCorpus
from audiocodec.errors import CodecError
from audiocodec.training.data.arrivals import Arrivals, first_files
from audiocodec.training.data.cache import AudioCache, cache_path
from audiocodec.training.data.decoded import DecodedAudio
from audiocodec.training.data.files import DataConfig, Split, data_root
from audiocodec.training.data.source import SegmentSource
from audiocodec.training.data.streamed import StreamedAudio
from audiocodec.training.data.utterances import CorpusSplit, is_corpus
from audiocodec.training.recipe import Recipe


def open_source(
    recipe: Recipe,
    data: DataConfig,
    chosen: Split | CorpusSplit,
    cache_folder: Path,
    device: torch.device,
    held_out_before: list[Path],
) -> tuple[SegmentSource, list[str]]:
    """The audio to train on, and why files were left out.

    Args:
        data: the recipe's settings, with folders in place of tars.
        held_out_before: files that are not trained on, even if they appear again.

    Raises:
        CodecError: it cannot be read, or is too short or silent.
    """
    sample_rate = recipe.codec.sample_rate
    check_packed(data, sample_rate)
    if isinstance(chosen, Split) and data.stream:
        root = data_root(data)
        chosen = CorpusSplit(FolderCorpus(root, chosen.training), {}, chosen.validation)
    if isinstance(chosen, CorpusSplit):
        size, seed = recipe.schedule.batch_size, recipe.seed
        corpus, held_out = chosen.corpus, chosen.held_out
        return StreamedAudio(corpus, held_out, data, sample_rate, size, seed, device), []
    if is_shard(chosen.training[0]):
        shards = [PackedShard(path) for path in chosen.training]
        return DecodedAudio(shards, data, sample_rate, device), []
    first, later = chosen.training, list[Path]()
    if data.watch is not None and not cache_path(first, sample_rate, cache_folder).is_file():
        first, later = first_files(first)
    cache = AudioCache(first, sample_rate, cache_folder)
    if data.cache is None:
        for old in set(cache_folder.glob("*.int16")) - {cache.path}:
            old.unlink(missing_ok=True)
    arrivals = None
    if data.watch is not None:
        known = [*chosen.training, *chosen.held_out, *held_out_before]
        arrivals = Arrivals(data, known, sample_rate, cache_folder, later)
    return DecodedAudio([cache.samples], data, sample_rate, device, arrivals), cache.skipped


def is_decoded_into_cache(data: DataConfig) -> bool:
    """Whether a run decodes its audio into a file of its cache."""
    return not (data.stream or is_corpus(data) or is_packed(data_root(data)))


def check_packed(data: DataConfig, sample_rate: int) -> None:
    """Raise :class:`CodecError` if packed audio does not suit the codec, or does not go with
    ``data.watch``."""
    held_out = [Path(data.validation).expanduser()] if data.validation else []
    for folder in filter(is_packed, [data_root(data), *held_out]):
        packed = PackedSettings.read(folder).sample_rate
        if packed != sample_rate:
            raise CodecError(
                f"{folder}: packed at {packed} Hz, the codec needs {sample_rate} Hz; pack the "
                f"corpus with --sample-rate {sample_rate}"
            )
    if data.watch is not None and (is_packed(data_root(data)) or is_corpus(data)):
        raise CodecError(
            "data.watch: waits for audio files in a folder, not for a corpus; set data.watch=null"
        )
