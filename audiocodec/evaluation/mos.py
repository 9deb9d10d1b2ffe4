"""A learned score: what listeners would say, by DistillMOS (Stahl and Gamper 2025; extra `mos`).

It looks at the reconstruction alone. Between neural codecs it agrees with listeners where PESQ and
STOI do not.
"""

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import ModuleType

import numpy as np
import soxr
import torch

from audiocodec.errors import CodecError
from audiocodec.evaluation.metrics import SPEECH_RATE, ScoreError, Signal


def distill_mos(signal: Signal, sample_rate: int) -> float:
    """Mean opinion score of ``signal [T]``, about 1 to 5, on the CPU at 16 kHz.

    Raises:
        CodecError: the package is not installed.
        ScoreError: under a quarter of a second, or silent.
    """
    model = load_distill_mos()
    if len(signal) < sample_rate / 4 or not np.any(signal):
        raise ScoreError("DistillMOS needs at least 0.25 s of audio")
    audio = np.asarray(signal, np.float32)
    if sample_rate != SPEECH_RATE:
        audio = soxr.resample(audio, sample_rate, SPEECH_RATE, "HQ")
    with torch.inference_mode():
        return float(model(torch.from_numpy(audio)[None]))


@lru_cache(maxsize=1)
def load_distill_mos() -> Callable[[torch.Tensor], torch.Tensor]:
    """The model, whose weights come with its package.

    Raises:
        CodecError: the package is not installed.
    """
    try:
        # Its module imports torchaudio for a command of its own that is not used here, and where
        # torchaudio cannot be loaded that would fail: an empty module stands in for it meanwhile.
        with _standing_in("torchaudio"), contextlib.redirect_stdout(io.StringIO()):
            import distillmos

            model: torch.nn.Module = distillmos.ConvTransformerSQAModel().eval()
    except ModuleNotFoundError:
        raise CodecError("no DistillMOS: pip install 'audiocodec[mos]', or go without it") from None
    return model


@contextlib.contextmanager
def _standing_in(name: str) -> Iterator[None]:
    if name in sys.modules:
        yield
        return
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]
