"""The model card that a repository of the Hugging Face Hub shows."""

METADATA = """---
library_name: audiocodec
pipeline_tag: audio-to-audio
tags:
- neural-audio-codec
- speech-tokens
---

"""
USE = """# {name}

```python
from audiocodec import RuntimeCodec

codec = RuntimeCodec.from_pretrained("OWNER/{name}")
codes = codec.encode(audio)  # float [B, 1, T] at {sample_rate} Hz -> int64 [B, K, F]
```
"""


def model_card(name: str, sample_rate: int, text: str = "") -> str:
    """``text``, or how the model is used, with the metadata that the Hub reads on top."""
    text = text or USE.format(name=name, sample_rate=sample_rate)
    return text if text.startswith("---\n") else METADATA + text
