"""Keep the audio of an evaluation in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from audiocodec.audio import audio_info, load_audio, save_audio
from audiocodec.errors import CodecError
from audiocodec.evaluation.result import Evaluation
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.scoring import Audio, Pair
from audiocodec.paths import replacing, writing

LIST = "wav.scp"


@dataclass(frozen=True)
class SavedAudio:
    """Reconstructions in ``folder/MODEL/N/PATH.wav``, 16-bit, N the number of codebooks.

    A file of another sample rate than the model's is resampled before it is encoded. This
    reference is saved too, as ``folder/reference_RATE/PATH.wav``. ``paths`` has each file's PATH.
    """

    folder: Path
    paths: Mapping[Path, Path]
    written: dict[Path, None] = field(default_factory=dict)
    """Files that were written, in order."""

    def reconstruction(self, model: str, num_codebooks: int, file: Path) -> Path:
        """The path of a file's reconstruction."""
        return self._target(Path(model, str(num_codebooks)), file)

    def reference(self, sample_rate: int, file: Path) -> Path:
        """The path of a file's reference at ``sample_rate`` Hz."""
        return self._target(Path(f"reference_{sample_rate}"), file)

    def has_reference(self, sample_rate: int, file: Path) -> bool:
        """Whether a model of ``sample_rate`` Hz gets a reference of its own."""
        try:
            return audio_info(file).sample_rate != sample_rate
        except CodecError:
            return False  # reported when the file is loaded

    def _target(self, subfolder: Path, file: Path) -> Path:
        path = self.paths[file]
        return self.folder / subfolder / path.with_name(f"{path.stem}.wav")

    def check(self, evaluations: Sequence[Evaluation], overwrite: bool = False) -> None:
        """Check, before anything is computed, that no file would be lost.

        Args:
            evaluations: of the models to evaluate, without rows.
            overwrite: whether files that exist may be replaced.

        Raises:
            CodecError: two files would get the same path, an input would be replaced, or a file
                exists and ``overwrite`` is false.
        """
        for evaluation in evaluations:
            model, rate = evaluation.model, evaluation.sample_rate
            targets_of: dict[Path, Path] = {}
            for file in self.paths:
                targets = [self.reconstruction(model, n, file) for n in evaluation.num_codebooks]
                other = targets_of.setdefault(targets[0], file)
                if other != file:
                    raise CodecError(
                        f"{file}: would be saved as {targets[0]}, as {other} would; rename one"
                    )
                if self.has_reference(rate, file):
                    targets.append(self.reference(rate, file))
                if file.resolve() in [target.resolve() for target in targets]:
                    raise CodecError(
                        f"{file}: is an input and would be replaced; save to another folder"
                    )
                for target in targets:
                    if target.exists() and not overwrite:
                        raise CodecError(f"{target}: is there already; --overwrite replaces it")

    def write(self, model: str, file: Path, pairs: Sequence[Pair[Row]]) -> None:
        """Write a file's reconstructions, and its reference if it gets one.

        Raises:
            CodecError: the folder cannot be written.
        """
        for pair in pairs:
            target = self.reconstruction(model, pair.row.num_codebooks, file)
            self._save(target, pair.reconstruction, pair.sample_rate)
        if pairs and self.has_reference(pairs[0].sample_rate, file):
            target = self.reference(pairs[0].sample_rate, file)
            if target not in self.written:
                self._save(target, *self._reference_audio(file, pairs[0]))

    def finish(self) -> None:
        """Write what is known when all files are there: nothing."""

    def _reference_audio(self, file: Path, pair: Pair[Row]) -> tuple[Audio, int]:
        return pair.reference, pair.sample_rate

    def _save(self, target: Path, audio: Audio, sample_rate: int) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CodecError(f"{target.parent}: cannot be created ({error.strerror})") from None
        save_audio(target, torch.from_numpy(audio), sample_rate)
        self.written[target] = None


@dataclass(frozen=True)
class FlatAudio(SavedAudio):
    """Pairs as other evaluation tools read them: folders without subfolders, names that are equal.

    ``folder/ref/NAME.wav`` is the input at its own sample rate, and
    ``folder/decoded/SYSTEM/NAME.wav`` its reconstruction. NAME is the file's path with ``-`` for
    the folders' ends and ``_`` for spaces, SYSTEM the model and the number of codebooks. Each
    folder has a ``wav.scp`` in Kaldi's format, with absolute paths.
    """

    def reconstruction(self, model: str, num_codebooks: int, file: Path) -> Path:
        system = f"{model}_{num_codebooks}" if num_codebooks else model.replace(":", "_")
        return self._target(Path("decoded", system), file)

    def reference(self, sample_rate: int, file: Path) -> Path:
        return self._target(Path("ref"), file)

    def has_reference(self, sample_rate: int, file: Path) -> bool:
        return True

    def finish(self) -> None:
        """Write the lists."""
        lists: dict[Path, list[str]] = {}
        for path in self.written:
            lists.setdefault(path.parent, []).append(f"{path.stem} {path.resolve()}\n")
        for folder, lines in lists.items():
            path = folder / LIST
            with replacing(path) as temporary, writing(path):
                temporary.write_text("".join(sorted(lines)), "utf-8", "surrogateescape")

    def _target(self, subfolder: Path, file: Path) -> Path:
        name = flat_name(self.paths[file].with_suffix("").parts)
        return self.folder / subfolder / f"{name}.wav"

    def _reference_audio(self, file: Path, pair: Pair[Row]) -> tuple[Audio, int]:
        audio, sample_rate = load_audio(file)
        return audio.numpy(), sample_rate


def flat_name(parts: Sequence[str]) -> str:
    """The parts of a path as one name without spaces."""
    return "_".join("-".join(parts).split())
