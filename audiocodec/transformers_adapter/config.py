"""A codec's settings as a configuration of Transformers."""

from __future__ import annotations

from typing import Any

from audiocodec.checkpoint import MODEL_TYPE, codec_config
from audiocodec.codec import CodecConfig
from audiocodec.extras import import_transformers
from audiocodec.tokens import rates

transformers: Any = import_transformers("audiocodec.transformers_adapter")
SETTINGS = tuple(CodecConfig.model_fields)


class AudioCodecConfig(transformers.PretrainedConfig):  # type: ignore[misc]
    """The settings of :class:`~audiocodec.codec.CodecConfig`, and what follows from them under the
    names of EnCodec's, DAC's and Mimi's configurations.

    Raises:
        CodecError: a setting that is refused.
    """

    model_type = MODEL_TYPE

    def __init__(self, **settings: Any) -> None:
        given = {name: settings.pop(name) for name in SETTINGS if name in settings}
        config = codec_config(given, source="AudioCodecConfig")
        super().__init__(**settings)
        for name, value in config.model_dump(mode="json").items():
            setattr(self, name, value)

    def codec_config(self) -> CodecConfig:
        """The codec's own configuration."""
        return codec_config({name: getattr(self, name) for name in SETTINGS}, "AudioCodecConfig")

    audio_channels = 1
    normalize = False
    chunk_length_s = chunk_length = chunk_stride = overlap = None

    @property
    def sampling_rate(self) -> int:
        """Samples per second, in Hz."""
        return self.codec_config().sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self.codec_config().seanet.hop_length

    frame_size = hop_length

    @property
    def frame_rate(self) -> float:
        """Frames per second, never rounded."""
        return rates.frame_rate(self.sampling_rate, self.hop_length)

    @property
    def downsampling_ratios(self) -> list[int]:
        """Strides of the encoder, first to last; the decoder has them in reverse."""
        seanet = self.codec_config().seanet
        return [*([seanet.patch] if seanet.patch > 1 else []), *seanet.strides]

    @property
    def upsampling_ratios(self) -> list[int]:
        """Strides of the decoder, first to last."""
        return self.downsampling_ratios[::-1]

    @property
    def hidden_size(self) -> int:
        """Width of the latents."""
        return self.codec_config().seanet.latent_dim

    @property
    def num_quantizers(self) -> int:
        """Codebooks that there are."""
        return self.codec_config().quantizer.num_codebooks

    n_codebooks = num_codebooks = num_quantizers

    @property
    def codebook_size(self) -> int:
        """Entries of a codebook, of the largest if they differ."""
        return max(stage.size for stage in self.codec_config().quantizer.stages)

    @property
    def codebook_dim(self) -> int:
        """Dimensions of a codebook, of the first if they differ."""
        return self.codec_config().quantizer.stages[0].dim

    @property
    def codebook_nbits(self) -> int:
        """Bits of a code."""
        return (self.codebook_size - 1).bit_length()

    @property
    def target_bandwidths(self) -> list[float]:
        """Bitrates in kbit/s, of 1, 2, ... codebooks."""
        sizes = [stage.size for stage in self.codec_config().quantizer.stages]
        return [
            rates.bitrate(self.sampling_rate, self.hop_length, sizes[:n]) / 1000
            for n in range(1, len(sizes) + 1)
        ]
