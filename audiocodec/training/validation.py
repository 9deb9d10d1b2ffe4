"""What a codec in training scores on audio that it is not trained on."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.evaluation.inspection import with_errors
from audiocodec.evaluation.metrics import ScoreError
from audiocodec.evaluation.metrics.stoi import stoi
from audiocodec.pictures import Coding
from audiocodec.tokens.rates import frame_bits
from audiocodec.training.data.clips import Recording, middle_of
from audiocodec.training.losses.config import LossConfig
from audiocodec.training.losses.spectra import Spectra
from audiocodec.training.losses.spectral import mel_loss

MAX_CLIPS = 12
CLIP_SECONDS = 3.0


class Clips(NamedTuple):
    """The validation clips, coded and decoded: what a score is computed from."""

    reconstruction: Tensor
    """``[B, 1, T]``, on the codec's device."""
    reference: Tensor
    """``[B, 1, T]``, there too."""
    sample_rate: int
    """Hz."""
    losses: LossConfig


def mel_distance(clips: Clips) -> float:
    """The mel loss, with the windows and bands of the recipe."""
    windows, bands = clips.losses.window_lengths, clips.losses.mel_bands
    spectra = Spectra(clips.reconstruction, clips.reference, clips.sample_rate, windows, bands)
    return float(mel_loss(spectra))


def mean_stoi(clips: Clips) -> float | None:
    """STOI, a mean over the clips that are not silent."""
    scores = []
    audio = (x.cpu()[:, 0].numpy() for x in (clips.reconstruction.clamp(-1, 1), clips.reference))
    for reconstruction, reference in zip(*audio, strict=True):
        with suppress(ScoreError):  # a silent clip has no score
            scores.append(stoi(reconstruction, reference, clips.sample_rate))
    return sum(scores) / len(scores) if scores else None


SCORES: dict[str, Callable[[Clips], float | None]] = {
    "mel": mel_distance,
    "stoi": mean_stoi,
}
"""What a validation measures, by name; ``None`` is not logged. A new score is one line here."""


class ValidationSet:
    """The middle seconds of a dozen files, evenly spaced in the list of files.

    Args:
        files: the held-out audio: files, shards of a packed corpus, or utterances. What cannot be
            read is skipped, with a line on stderr.
        sample_rate: the codec's, in Hz.
        losses: the windows and bands of the mel distance.

    Raises:
        CodecError: none of the files can be read.
    """

    is_scored = True

    def __init__(self, files: Sequence[Recording], sample_rate: int, losses: LossConfig) -> None:
        self.sample_rate = sample_rate
        self.losses = losses
        stride = max(1, len(files) // MAX_CLIPS)
        length = round(CLIP_SECONDS * sample_rate)
        clips = []
        for file in files[::stride][:MAX_CLIPS]:
            try:
                clips.append(middle_of(file, sample_rate, length))
            except CodecError as error:
                print(f"skipped: {error}", file=sys.stderr)
        if not clips:
            raise CodecError(
                "data.validation: none of the held-out files can be read; name others with "
                "--set data.validation=FOLDER"
            )
        self.audio = torch.stack(clips).unsqueeze(1)
        silence = torch.zeros_like(self.audio)
        self.silence = mel_distance(Clips(silence, self.audio, sample_rate, losses))
        """Mel distance of silence; a usable model has a smaller one."""

    @torch.no_grad()
    def run(self, codec: Codec) -> tuple[dict[str, float], dict[str, Tensor], Coding | None]:
        """All scores with one, a quarter of and all codebooks; one clip's audio at each, and codes.

        The codes are all that the clip has.
        """
        was_training = codec.training
        codec.eval()
        reference = self.audio.to(codec.device)
        numbers: dict[str, float] = {}
        shown = {"reference": self.audio[0, 0]}
        for n in sorted({1, (codec.num_codebooks + 3) // 4, codec.num_codebooks}):
            output = codec(reference, n)
            clips = Clips(output.audio, reference, self.sample_rate, self.losses)
            for name, score in SCORES.items():
                if (value := score(clips)) is not None:
                    numbers[f"validation/{name}_{n}"] = value
            shown[f"{n} codebooks"] = clips.reconstruction[0, 0].cpu().clamp(-1, 1)
        codec.train(was_training)
        codes = output.quantized.codes[0].cpu().numpy()
        sizes = codec.codebook_sizes
        coding = Coding(
            title=f"a clip of validation, codebooks: {len(codes)}",
            sample_rate=self.sample_rate,
            hop_length=codec.hop_length,
            codes=codes,
            codebook_sizes=sizes,
            reconstruction=clips.reconstruction[0, 0].cpu().numpy(),
            reference=shown["reference"].numpy(),
            bits={"fixed": np.full(codes.shape[1], float(frame_bits(sizes)))},
        )
        return numbers, shown, with_errors(coding)


class NoValidation(ValidationSet):
    """The clips without their scores: for a process that is not rank 0."""

    is_scored = False

    def run(self, codec: Codec) -> tuple[dict[str, float], dict[str, Tensor], Coding | None]:
        return {}, {}, None
