"""How a codec in training does on speech that it does not train on: quick, the same every time."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from audiocodec.audio import load_audio
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics import ScoreError
from audiocodec.evaluation.metrics.stoi import stoi
from audiocodec.training.losses import LossConfig, spectral_losses

CLIPS = 12
CLIP_SECONDS = 3.0


class ValidationSet:
    """The middle seconds of a dozen files spread over the list."""

    def __init__(self, files: Sequence[Path], sample_rate: int, losses: LossConfig) -> None:
        self.sample_rate = sample_rate
        self.losses = losses
        stride = max(1, len(files) // CLIPS)
        length = round(CLIP_SECONDS * sample_rate)
        clips = []
        for file in files[::stride][:CLIPS]:
            try:
                audio = load_audio(file, sample_rate)[0].mean(dim=0)
            except CodecError as error:
                print(f"skipped: {error}", file=sys.stderr)
                continue
            start = max(0, (len(audio) - length) // 2)
            clip = audio[start : start + length]
            clips.append(torch.nn.functional.pad(clip, (0, length - len(clip))))
        if not clips:
            raise CodecError(
                "data.validation: none of the held-out files can be read; give others with "
                "--set data.validation=FOLDER"
            )
        self.audio = torch.stack(clips).unsqueeze(1)
        nothing = torch.zeros_like(self.audio)
        self.silence = float(spectral_losses(nothing, self.audio, sample_rate, losses)[0])
        """Mel loss of silence: a model must do better."""

    @torch.no_grad()
    def run(self, codec: Codec) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Mel loss and STOI at few and at all codebooks; one clip's audio to show."""
        device = codec.device
        was_training = codec.training
        codec.eval()
        audio = self.audio.to(device)
        numbers: dict[str, float] = {}
        clips = {"reference": self.audio[0, 0]}
        for n in sorted({1, (codec.num_codebooks + 3) // 4, codec.num_codebooks}):
            made = codec(audio, n).audio
            mel, _ = spectral_losses(made, audio, self.sample_rate, self.losses)
            made = made.cpu().clamp(-1, 1)
            pairs = zip(made[:, 0].numpy(), self.audio[:, 0].numpy(), strict=True)
            scores = []
            for reconstruction, clip in pairs:
                with suppress(ScoreError):  # a silent clip has no score
                    scores.append(stoi(reconstruction, clip, self.sample_rate))
            numbers[f"validation/mel_{n}"] = mel.item()
            if scores:
                numbers[f"validation/stoi_{n}"] = sum(scores) / len(scores)
            clips[f"{n} codebooks"] = made[0, 0]
        codec.train(was_training)
        return numbers, clips
