"""DistillMOS: a neural network that predicts the mean opinion score of listeners (extra `mos`).

Between neural codecs it agrees with listeners where PESQ and STOI do not.
"""

import contextlib
import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import soxr
import torch

from audiocodec.evaluation.metrics.registry import ScoreError
from audiocodec.evaluation.metrics.signal import SPEECH_RATE, Signal
from audiocodec.extras import stand_in


def distill_mos(reconstruction: Signal, reference: Signal, sample_rate: int) -> float:
    """Mean opinion score, about 1 to 5 (Stahl and Gamper 2025), on the CPU at 16 kHz.

    Only the reconstruction is used.

    Args:
        reconstruction, reference: ``[T]`` in [-1, 1].
        sample_rate: Hz.

    Raises:
        ScoreError: less than 0.25 s, or a silent reconstruction.
    """
    if len(reconstruction) < sample_rate / 4 or not np.any(reconstruction):
        raise ScoreError("DistillMOS needs at least 0.25 s of audio")
    audio = np.asarray(reconstruction, np.float32)
    if sample_rate != SPEECH_RATE:
        audio = soxr.resample(audio, sample_rate, SPEECH_RATE, "HQ")
    model = _load_model()
    with torch.inference_mode():
        return float(model(torch.from_numpy(audio)[None]))


@lru_cache(maxsize=1)
def _load_model() -> Callable[[torch.Tensor], torch.Tensor]:
    """The network; its weights are part of the package distillmos."""
    # distillmos imports torchaudio for its own command line only, and torchaudio does not load
    # beside every version of torch. An empty module replaces it during the import.
    with stand_in("torchaudio"), contextlib.redirect_stdout(io.StringIO()):
        import distillmos

        model: torch.nn.Module = distillmos.ConvTransformerSQAModel().eval()
    return model
