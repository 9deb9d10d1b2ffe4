"""The files of a run: which are trained on, and which are held out for validation."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, Self, TypeVar

import pydantic

from audiocodec.audio import find_audio
from audiocodec.bundled import CLIPS
from audiocodec.config import Config
from audiocodec.corpus.packing.shards import is_packed, packed_shards
from audiocodec.durations import parse_duration
from audiocodec.errors import CodecError
from audiocodec.training.data.augmentations.config import AugmentConfig
from audiocodec.training.data.clips import Recording
from audiocodec.training.data.corpora.names import CorpusName, with_corpora
from audiocodec.training.data.corpora.ondisk import corpora_files

Item = TypeVar("Item")

BUNDLED_CLIPS = "bundled_clips"
"""As `data.root`: the two clips of speech in the package."""

Duration = Annotated[
    float,
    pydantic.BeforeValidator(lambda x: parse_duration(x) if isinstance(x, str) else x),
    pydantic.Field(gt=0, le=1e8),
]
"""Seconds, or text such as ``25m``."""

Decibels = Annotated[float, pydantic.Field(ge=-120, le=60)]


class DataConfig(Config):
    """Where the audio is, and how segments are cut and varied."""

    root: str | None = pydantic.Field(
        None,
        description="folder or tar of audio files, the folder of data.corpora, a corpus (manifest, "
        "list, folder of tars), a packed corpus, or `bundled_clips` for the two clips in the "
        "package; if a recipe has none: --set data.root=FOLDER",
    )
    corpora: tuple[CorpusName, ...] = pydantic.Field(
        (),
        description="public corpora by name, e.g. librispeech/train-clean-100, vctk; empty: all "
        "audio below root",
    )
    download: bool = pydantic.Field(False, description="fetch those of data.corpora not in root")
    validation: str | None = pydantic.Field(
        None,
        description="other speakers' audio, of the same kinds; null: 2 % of the files are held out",
    )
    cache: str | None = pydantic.Field(
        None, description="folder for decoded audio; null: the run's"
    )
    watch: Duration | None = pydantic.Field(
        None,
        description="take in files that arrive below root while the run trains, and wait so long "
        "for the first, e.g. 5m; null: only the files that are there",
    )
    stream: bool = pydantic.Field(
        False,
        description="decode audio files or a tar while the run trains, again in each epoch, "
        "instead of once into the cache; corpora are always streamed",
    )
    segments_per_utterance: Annotated[int, pydantic.Field(ge=1, le=1000)] = pydantic.Field(
        8, description="segments drawn from an utterance, on average, when it is streamed"
    )
    lanes: Annotated[int, pydantic.Field(ge=1, le=4096)] = pydantic.Field(
        8,
        description="parts of a streamed corpus that are read side by side; with more than 8 "
        "processes, a multiple of their number",
    )
    segment_seconds: Annotated[float, pydantic.Field(gt=0, le=60)] = 0.64
    silence_threshold_db: Annotated[float, pydantic.Field(ge=-120, le=0)] = pydantic.Field(
        -50.0, description="segments below this RMS level (dB of full scale) are not used"
    )
    gain_db: tuple[Decibels, Decibels] = pydantic.Field((-10.0, 6.0), description="random gain")
    augment: AugmentConfig = AugmentConfig()

    _with_corpora = pydantic.model_validator(mode="before")(with_corpora)

    @pydantic.model_validator(mode="after")
    def _gains_ascend(self) -> Self:
        if self.gain_db[0] > self.gain_db[1]:
            raise ValueError("the first value of `gain_db` is greater than the second")
        if self.stream and self.watch is not None:
            raise ValueError("`watch` takes in audio that is decoded once; leave out `stream`")
        return self

    @pydantic.model_validator(mode="after")
    def _watches_own_recordings(self) -> Self:
        if self.watch is not None and self.corpora:
            raise ValueError("`watch` takes in all audio below `root`; leave it or `corpora` out")
        return self


class Split(NamedTuple):
    """The files of a run."""

    training: list[Path]
    held_out: list[Path]
    """Files for validation only."""

    @property
    def num_recordings(self) -> int:
        """Files to train on."""
        return len(self.training)

    def evenly_spaced(self, most: int) -> list[Recording]:
        """At most ``most`` of the files to train on, evenly spaced."""
        return [*evenly_spaced(self.training, most)]

    @property
    def validation(self) -> list[Recording]:
        """The same files, for a validation."""
        return [*self.held_out]

    def describe(self) -> str:
        """The numbers of files, in one line."""
        if set(self.held_out) & set(self.training):
            return (
                f"warning: no file is held out; {len(self.held_out)} of the files to train on "
                "serve as validation too, and the scores do not show how the model does on other "
                "speech"
            )
        count = len(self.training)
        return f"{count} file{'s' * (count != 1)} to train on, {len(self.held_out)} held out"


def evenly_spaced(items: Sequence[Item], most: int) -> list[Item]:
    """At most ``most`` of the items, evenly spaced."""
    if len(items) <= most:
        return [*items]
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def data_root(config: DataConfig) -> Path:
    """The folder that ``data.root`` names.

    Raises:
        CodecError: it is not given.
    """
    if config.root is None:
        raise CodecError("data.root: not given; name your recordings: --set data.root=FOLDER")
    if config.root == BUNDLED_CLIPS:
        return CLIPS
    return Path(config.root).expanduser()


def audio_or_shards(path: Path) -> list[Path]:
    """The shards of a packed corpus, or the audio files at ``path``.

    Raises:
        CodecError: there are none, or shards are missing.
    """
    return packed_shards(path) if is_packed(path) else find_audio(path)


def split_files(config: DataConfig, held_out_before: Collection[Path] = ()) -> Split:
    """Choose the files of a recipe.

    Args:
        held_out_before: files that this run has held out so far. They stay held out. Unless
            ``data.validation`` is given, no other files are held out, even if files were added.

    Raises:
        CodecError: no files to train on, or none to validate on.
    """
    root = data_root(config)
    if config.corpora:
        files = corpora_files(root, config.corpora, config.download)
    else:
        files = audio_or_shards(root)
    if config.validation is not None:
        validation = audio_or_shards(Path(config.validation).expanduser())
    elif held_out_before:
        validation = [file for file in files if file in set(held_out_before)]
        if not validation:
            raise CodecError(
                f"{root}: the files that this run held out are gone; restore them, or name "
                "others: --set data.validation=FOLDER"
            )
    elif len(files) == 1:
        return Split(files, files)
    else:
        validation = files[:: min(50, len(files))]
    excluded = {os.path.realpath(file) for file in (*validation, *held_out_before)}
    training = [file for file in files if os.path.realpath(file) not in excluded]
    if not training and held_out_before:
        raise CodecError(
            f"{root}: only files that this run holds out are left; restore the others, or name "
            "another folder: --set data.root=FOLDER"
        )
    # A single file, or a folder given for both purposes, serves both.
    return Split(training or files, validation)
