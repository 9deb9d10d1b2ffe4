"""What a loss can be computed from. A loss names what it needs as its parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from audiocodec import ranks
from audiocodec.quantization.residual import Quantized
from audiocodec.training.discriminators import FeatureMaps
from audiocodec.training.losses.spectra import Magnitudes, Spectra, magnitudes_and_log_mels


@dataclass(eq=False)
class LossInputs:
    """The tensors and settings of one training step. Each attribute is a name a loss may use.

    Spectra and feature maps are computed when a loss first needs them, and shared after that.
    """

    reconstruction: Tensor
    """``[B, 1, T]``, float32, as all audio here."""
    reference: Tensor
    """``[B, 1, T]``."""
    sample_rate: int
    """Hz."""
    hop_length: int
    """Samples in a frame."""
    periods: tuple[int, ...]
    """Samples in a column of each level that the decoder upsamples from, frames first."""
    window_lengths: tuple[int, ...]
    """STFT windows, in samples."""
    mel_bands: tuple[int, ...]
    """Mel bands of each window."""
    quantized: Quantized | None = None
    """What the quantiser returned; absent before the codebooks are initialised."""
    discriminate: Callable[[Tensor], FeatureMaps] | None = None
    """The discriminators in use; absent before ``discriminators.start_step``."""
    batch_mean: Callable[[Tensor], Tensor] = ranks.mean
    """Means over the items here, ``[N]`` -> means over the whole batch, of all processes and parts.
    For what a loss divides by, or compares. A loss calls it once at most. The means may depend on
    the reference, on its maps, and on a ``reconstruction`` that is a parameter of the loss."""
    spectral_function: Magnitudes = magnitudes_and_log_mels
    """See :class:`Spectra`."""

    @cached_property
    def spectra(self) -> Spectra:
        """Magnitude spectra of reconstruction and reference."""
        return Spectra(
            self.reconstruction,
            self.reference,
            self.sample_rate,
            self.window_lengths,
            self.mel_bands,
            self.spectral_function,
        )

    @cached_property
    def real_maps(self) -> FeatureMaps:
        """The discriminators' feature maps of the reference, without a gradient."""
        assert self.discriminate is not None
        with torch.no_grad():
            return self.discriminate(self.reference)

    @cached_property
    def fake_maps(self) -> FeatureMaps:
        """The discriminators' feature maps of the reconstruction."""
        assert self.discriminate is not None
        return self.discriminate(self.reconstruction)


LOSS_INPUTS = tuple(
    name
    for name in (*LossInputs.__dataclass_fields__, *vars(LossInputs))
    if not name.startswith("_") and name not in ("discriminate", "spectral_function")
)
"""The names that a loss may have as parameters."""
