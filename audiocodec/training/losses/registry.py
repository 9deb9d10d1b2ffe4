"""All losses by name. A new loss is one function in a file of its own and one line here."""

from audiocodec.training.losses.adversarial import ADVERSARIAL, FEATURE_MATCHING
from audiocodec.training.losses.level import LEVEL
from audiocodec.training.losses.loss import Loss
from audiocodec.training.losses.loudness import LOUDNESS
from audiocodec.training.losses.quantizer import QUANTIZER
from audiocodec.training.losses.recogniser import RECOGNISER
from audiocodec.training.losses.speaker import SPEAKER
from audiocodec.training.losses.spectral import MEL, STFT
from audiocodec.training.losses.tonal import TONAL
from audiocodec.training.losses.waveform import WAVEFORM

LOSSES: dict[str, Loss] = {
    "mel": MEL,
    "stft": STFT,
    "waveform": WAVEFORM,
    "loudness": LOUDNESS,
    "level": LEVEL,
    "tonal": TONAL,
    "recogniser": RECOGNISER,
    "speaker": SPEAKER,
    "quantizer": QUANTIZER,
    "adversarial": ADVERSARIAL,
    "feature_matching": FEATURE_MATCHING,
}
"""In the order in which they are computed; a loss comes after the one that it requires."""
