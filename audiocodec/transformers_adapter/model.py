"""The codec as a model of Transformers. Shapes as in :mod:`audiocodec.codec`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiocodec.checkpoint import load_trainable
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.extras import import_transformers
from audiocodec.hub import DOWNLOAD, fetch_model, model_name, push_to_hub, save_pretrained
from audiocodec.runtime import RuntimeCodec
from audiocodec.transformers_adapter.config import AudioCodecConfig
from audiocodec.transformers_adapter.masks import lengths_of
from audiocodec.transformers_adapter.outputs import (
    AudioCodecDecoderOutput,
    AudioCodecEncoderOutput,
    AudioCodecOutput,
)

transformers: Any = import_transformers("audiocodec.transformers_adapter")
PreTrainedModel: Any = getattr(
    transformers.modeling_utils, "PreTrainedAudioTokenizerBase", transformers.PreTrainedModel
)


class AudioCodecModel(PreTrainedModel):  # type: ignore[misc]
    """Audio -> codes -> audio. ``codec`` has the weights and can be trained."""

    config_class = AudioCodecConfig
    base_model_prefix = "codec"
    main_input_name = "input_values"
    input_modalities = "audio"

    def __init__(self, config: AudioCodecConfig, codec: Codec | None = None) -> None:
        super().__init__(config)
        self.codec = codec or Codec(config.codec_config())
        self.folder: Path | None = None
        self._runtime: tuple[object, RuntimeCodec] | None = None
        self.post_init()

    def _init_weights(self, module: object) -> None:
        """Nothing: the codec has initialised itself."""

    @property
    def runtime(self) -> RuntimeCodec:
        """The codec in use, of the weights as they are now."""
        weights = self.codec.state_dict().values()
        now = [(w.data_ptr(), w._version, w.dtype, w.device) for w in weights]
        if self._runtime is None or self._runtime[0] != now:
            self._runtime = now, RuntimeCodec(self.codec)
        return self._runtime[1]

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *_: Any,
        config: AudioCodecConfig | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: str | torch.device | dict[str, Any] | None = None,
        **options: Any,
    ) -> AudioCodecModel:
        """The model of a bundled name, a folder or a repository of the Hugging Face Hub, in
        evaluation mode.

        ``dtype``: ``torch.float32``, also for ``"auto"``, or ``torch.float64``; ``device_map``: one
        device. Other options are those of :func:`audiocodec.hub.fetch_model`; the rest is ignored.

        Raises:
            CodecError: no such model, or a half precision.
        """
        model = pretrained_model_name_or_path
        folder = fetch_model(model, **{name: options[name] for name in DOWNLOAD & options.keys()})
        devices = set(device_map.values()) if isinstance(device_map, dict) else {device_map}
        device = devices.pop() if len(devices) == 1 else None
        codec = load_trainable(folder, "cpu" if device in (None, "auto") else device)
        codec.name = model_name(model, folder)
        wanted = dtype or torch_dtype
        if wanted not in (None, "auto"):
            codec.to(getattr(torch, wanted) if isinstance(wanted, str) else wanted)
        found = cls(AudioCodecConfig(**codec.config.model_dump(mode="json")), codec)
        found.folder, found.name_or_path = folder, str(model)
        return found.eval()

    def save_pretrained(self, save_directory: str | Path, *_: Any, **options: Any) -> None:
        """Write a model folder, which ``load_codec`` and ``codec --model`` open too.

        ``push_to_hub=True`` publishes it, with the options of ``push_to_hub``. See
        :func:`audiocodec.hub.save_pretrained`.
        """
        save_pretrained(self.codec, save_directory, self.folder)
        if options.pop("push_to_hub", False):
            self.push_to_hub(options.pop("repo_id", None) or Path(save_directory).name, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Publish it, see :func:`audiocodec.hub.push_to_hub`."""
        return push_to_hub(self.codec, repo_id, source=self.folder, **options)

    @torch.no_grad()
    def encode(
        self,
        input_values: Tensor,
        padding_mask: Tensor | int | None = None,
        bandwidth: float | None = None,
        return_dict: bool | None = None,
        *,
        num_quantizers: int | None = None,
        n_quantizers: int | None = None,
        **_: Any,
    ) -> Any:
        """Audio ``[B, 1, T]`` -> codes ``[B, K, F]``, of all codebooks unless it is said.

        Args:
            padding_mask: ``[B, T]`` or ``[B, 1, T]``, 0 where an item is padded on the right. Its
                frames have the codes that it has alone; the frames beyond are 0.
            bandwidth: kbit/s, one of ``config.target_bandwidths``, as EnCodec has it.
            num_quantizers: codebooks, as Mimi has it; DAC's ``n_quantizers`` is the same. A whole
                number in the place of ``padding_mask`` is too.

        Raises:
            CodecError: another shape, no such bandwidth or number of codebooks, or padding that is
                not on the right.
        """
        if isinstance(padding_mask, int):
            padding_mask, n_quantizers = None, padding_mask
        wanted = num_quantizers or n_quantizers
        if bandwidth is not None:
            bandwidths = self.config.target_bandwidths
            if bandwidth not in bandwidths:
                raise CodecError(f"bandwidth: one of {bandwidths}, not {bandwidth}")
            wanted = bandwidths.index(bandwidth) + 1
        if input_values.ndim != 3:
            raise CodecError(f"input_values are [B, 1, T], not {list(input_values.shape)}")
        runtime = self.runtime
        lengths = None if padding_mask is None else lengths_of(padding_mask, input_values.shape[-1])
        codes = runtime.encode(input_values, wanted, lengths=lengths)
        if not (self.config.return_dict if return_dict is None else return_dict):
            return codes, [None], 0
        return AudioCodecEncoderOutput(codes, [None], 0, runtime.quantized(codes))

    @torch.no_grad()
    def decode(
        self,
        audio_codes: Tensor | None = None,
        audio_scales: list[None] | Tensor | None = None,
        padding_mask: Tensor | None = None,
        return_dict: bool | None = None,
        last_frame_pad_length: int = 0,
        *,
        quantized_representation: Tensor | None = None,
        **_: Any,
    ) -> Any:
        """Codes ``[B, K, F]``, or EnCodec's ``[1, B, K, F]`` -> audio ``[B, 1, T]``.

        Args:
            audio_codes: a float tensor is taken for the ``quantized_representation [B, D, F]``, as
                DAC has it.
            audio_scales: ignored; a tensor is taken for the ``padding_mask``, as Mimi has it.
            padding_mask: that of the audio. The result is as long, and 0 after each item's end.
        """
        if isinstance(audio_scales, Tensor):
            padding_mask = audio_scales
        if audio_codes is not None and audio_codes.is_floating_point():
            audio_codes, quantized_representation = None, audio_codes
        runtime = self.runtime
        if audio_codes is None:
            if quantized_representation is None:
                raise CodecError("decode: give audio_codes or quantized_representation")
            audio = runtime.decode_latents(quantized_representation)
        else:
            codes = audio_codes.squeeze(0) if audio_codes.ndim == 4 else audio_codes
            if last_frame_pad_length:
                codes = codes[..., :-last_frame_pad_length]
            lengths = None
            if padding_mask is not None:
                most = codes.shape[-1] * runtime.hop_length
                lengths = lengths_of(padding_mask, padding_mask.shape[-1]).clamp(max=most)
            audio = runtime.decode(codes, lengths=lengths)
        if padding_mask is not None:
            audio = audio[..., : padding_mask.shape[-1]]
        if not (self.config.return_dict if return_dict is None else return_dict):
            return (audio,)
        return AudioCodecDecoderOutput(audio)

    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | int | None = None,
        bandwidth: float | None = None,
        audio_codes: Tensor | None = None,
        audio_scales: list[None] | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Audio ``[B, 1, T]`` -> codes and audio of the same length; codes that are given are
        decoded instead. Arguments as in :meth:`encode`."""
        if audio_codes is None:
            audio_codes = self.encode(input_values, padding_mask, bandwidth, True, **options)[0]
        mask = padding_mask if isinstance(padding_mask, Tensor) else None
        audio = self.decode(audio_codes, None, mask, True)[0][..., : input_values.shape[-1]]
        if not (self.config.return_dict if return_dict is None else return_dict):
            return audio_codes, audio
        return AudioCodecOutput(audio_codes, audio)

    def get_encoded_length(self, input_length: Tensor) -> Tensor:
        """Samples of each item -> its frames."""
        return (input_length + self.config.hop_length - 1) // self.config.hop_length

    def get_audio_codes_mask(self, padding_mask: Tensor, padding_side: str = "right") -> Tensor:
        """Mask of the audio ``[B, T]`` or ``[B, 1, T]`` -> mask of the frames, bool ``[B, F]``."""
        if padding_side != "right":
            raise CodecError(f"padding_side: right, not {padding_side}")
        samples = padding_mask.shape[-1]
        frames = self.get_encoded_length(torch.tensor(samples))
        ends = self.get_encoded_length(lengths_of(padding_mask, samples))
        return torch.arange(int(frames), device=ends.device) < ends.unsqueeze(1)
