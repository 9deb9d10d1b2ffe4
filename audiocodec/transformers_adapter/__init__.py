"""The codec as an audio tokenizer of Transformers, called like EnCodec, DAC and Mimi:

    import audiocodec.transformers_adapter                       # registers the classes below
    from transformers import AutoFeatureExtractor, AutoModel

    model = AutoModel.from_pretrained("folder")                  # that save_pretrained wrote
    extractor = AutoFeatureExtractor.from_pretrained("folder")
    inputs = extractor(clips, sampling_rate=16_000, return_tensors="pt")
    codes = model.encode(**inputs).audio_codes                   # int64 [B, K, F]
    audio = model.decode(codes, padding_mask=inputs["padding_mask"]).audio_values   # [B, 1, T]

Codes and audio are those of :func:`~audiocodec.checkpoint.load_codec`; after ``model.double()``
they are exact. Nothing has gradients: to train, use ``model.codec``. Needs the extra
``transformers``. Shape letters as in :mod:`audiocodec.codec`.
"""

from __future__ import annotations

from typing import Any

from audiocodec.checkpoint import MODEL_TYPE
from audiocodec.extras import import_transformers

transformers: Any = import_transformers("audiocodec.transformers_adapter")

from audiocodec.transformers_adapter.config import AudioCodecConfig  # noqa: E402
from audiocodec.transformers_adapter.model import AudioCodecModel  # noqa: E402

__all__ = ["AudioCodecConfig", "AudioCodecModel"]

transformers.AutoConfig.register(MODEL_TYPE, AudioCodecConfig, exist_ok=True)
transformers.AutoModel.register(AudioCodecConfig, AudioCodecModel, exist_ok=True)
