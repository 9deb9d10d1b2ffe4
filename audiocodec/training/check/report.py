"""`codec train --check`: what a run needs and produces, found out before it starts.

The audio is read and a few steps are timed. A recipe that passes can start.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch

from audiocodec.audio import save_audio
from audiocodec.training.check.cost import measure_cost, shortened
from audiocodec.training.check.diskspace import disk_shortage
from audiocodec.training.check.inspection import inspect_audio
from audiocodec.training.data.cache import cache_path
from audiocodec.training.data.corpora.ondisk import missing_corpora
from audiocodec.training.data.corpora.table import CORPORA
from audiocodec.training.data.files import BUNDLED_CLIPS, DataConfig, Split, data_root, split_files
from audiocodec.training.data.opening import check_packed, is_decoded_into_cache
from audiocodec.training.data.tars import unpacked
from audiocodec.training.data.utterances import is_corpus, split_utterances
from audiocodec.training.memory import memory_errors, memory_shortage
from audiocodec.training.recipe import Recipe
from audiocodec.training.rundata import cache_folder_of
from audiocodec.training.trainer import Trainer


def check(recipe: Recipe, folder: Path, device: str) -> dict[str, Any]:
    """What ``recipe`` needs and produces when it is run in ``folder``, ready for JSON.

    ``problem`` says that the disk or the memory is too small, or is ``None``.

    Raises:
        CodecError: the run could not start.
    """
    missing = to_download(recipe.data)
    archives = [CORPORA[name] for name in missing]
    if missing:
        clips = split_files(DataConfig(root=BUNDLED_CLIPS))
        audio = inspect_audio(Split([*clips.training, *clips.held_out], []), recipe)
    else:
        data = unpacked(recipe.data, cache_folder_of(recipe, folder))
        check_packed(data, recipe.codec.sample_rate)
        chosen = split_utterances(data) if is_corpus(data) else split_files(data)
        audio = inspect_audio(chosen, recipe)
    with tempfile.TemporaryDirectory() as scratch, memory_errors():
        sample = Path(scratch) / "sample.wav"
        joined = torch.cat([torch.zeros(0), *audio.sample]).unsqueeze(0)
        save_audio(sample, joined, recipe.codec.sample_rate)
        split = Split([sample], [sample])
        trainer = Trainer(shortened(recipe, device), Path(scratch) / "run", device, split=split)
        cost = measure_cost(trainer, recipe, len(audio.split.validation))
        codec = trainer.training_step.codec
    steps, hours_needed = recipe.schedule.steps, cost.hours
    if (budget := recipe.schedule.budget) is not None:
        steps, hours_needed = max(1, round(budget / cost.seconds_per_step)), budget / 3600
    hours = sum(CORPORA[name].hours for name in recipe.data.corpora) if missing else audio.hours
    cache_folder = cache_folder_of(recipe, folder)
    is_cached = is_decoded_into_cache(recipe.data)
    disk = {
        # Each archive is deleted when it is unpacked.
        "download": round(
            1e9 * (sum(a.unpacked for a in archives) + max([0.0, *(a.gigabytes for a in archives)]))
        ),
        "cache": round(hours * 3600 * recipe.codec.sample_rate * 2 * is_cached),
        "checkpoints": cost.checkpoint_bytes,
        "logs": cost.log_bytes,
    }
    needed = sum(disk.values())
    if is_cached and not missing and isinstance(audio.split, Split):
        files = audio.split.training
        there = cache_path(files, recipe.codec.sample_rate, cache_folder).is_file()
        needed -= disk["cache"] if there else 0
    shortages = [
        memory_shortage(cost.memory_bytes, device),
        disk_shortage(needed, disk, folder, cache_folder, data_root(recipe.data)),
    ]
    return {
        "name": recipe.name,
        "parameters": sum(p.numel() for p in codec.parameters()),
        "frame_rate": codec.frame_rate,
        "bitrates": [codec.bitrate(n + 1) for n in range(codec.num_codebooks)],
        "files": 0 if missing else audio.split.num_recordings,
        "held_out": len(audio.split.validation),
        "hours_of_audio": hours,
        "speakers": None if missing else audio.speakers,
        "to_download": missing,
        "download_bytes": round(1e9 * sum(archive.gigabytes for archive in archives)),
        "unreadable": audio.unreadable,
        "near_silent": audio.near_silent,
        "files_decoded": audio.decoded,
        "silence_threshold_db": recipe.data.silence_threshold_db,
        "device": device,
        "steps": steps,
        "audio_seconds_per_step": recipe.schedule.batch_size * recipe.data.segment_seconds,
        "seconds_per_step": cost.seconds_per_step,
        "hours": hours_needed,
        "memory_bytes": cost.memory_bytes,
        "disk_bytes": disk,
        "folder": str(folder),
        "problem": next(filter(None, shortages), None),
    }


def to_download(config: DataConfig) -> list[str]:
    """The corpora that the run would download. A check downloads nothing."""
    return missing_corpora(data_root(config), config.corpora) if config.download else []
