"""Keep the audio of an evaluation in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from audiocodec.audio import audio_info, save_audio
from audiocodec.errors import CodecError
from audiocodec.evaluation.result import Evaluation
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.scoring import Audio, Pair


@dataclass(frozen=True)
class SavedAudio:
    """Reconstructions in ``folder/MODEL/N/PATH.wav``, 16-bit, N the number of codebooks.

    A file of another sample rate than the model's is resampled before it is encoded. This
    reference is saved too, as ``folder/reference_RATE/PATH.wav``. ``paths`` has each file's PATH.
    """

    folder: Path
    paths: Mapping[Path, Path]

    def reconstruction(self, model: str, num_codebooks: int, file: Path) -> Path:
        """The path of a file's reconstruction."""
        return self._target(Path(model, str(num_codebooks)), file)

    def reference(self, sample_rate: int, file: Path) -> Path:
        """The path of a file's reference at ``sample_rate`` Hz."""
        return self._target(Path(f"reference_{sample_rate}"), file)

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
                if self._resampled(file, rate):
                    targets.append(self.reference(rate, file))
                if file.resolve() in [target.resolve() for target in targets]:
                    raise CodecError(
                        f"{file}: is an input and would be replaced; save to another folder"
                    )
                for target in targets:
                    if target.exists() and not overwrite:
                        raise CodecError(f"{target}: is there already; --overwrite replaces it")

    def write(self, model: str, file: Path, pairs: Sequence[Pair[Row]]) -> None:
        """Write a file's reconstructions, and its reference if it was resampled.

        Raises:
            CodecError: the folder cannot be written.
        """
        for pair in pairs:
            target = self.reconstruction(model, pair.row.num_codebooks, file)
            _save(target, pair.reconstruction, pair.sample_rate)
        if pairs and self._resampled(file, pairs[0].sample_rate):
            target = self.reference(pairs[0].sample_rate, file)
            _save(target, pairs[0].reference, pairs[0].sample_rate)

    def _resampled(self, file: Path, sample_rate: int) -> bool:
        try:
            return audio_info(file).sample_rate != sample_rate
        except CodecError:
            return False  # reported when the file is loaded


def _save(target: Path, audio: Audio, sample_rate: int) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{target.parent}: cannot be created ({error.strerror})") from None
    save_audio(target, torch.from_numpy(audio), sample_rate)
