"""The encoder of Whisper in PyTorch, as a source of features for a loss.

Radford et al. 2022, arXiv 2212.04356, section 2.2. The blocks are PyTorch's own; weights come from
a model in CTranslate2's format.

Shapes: ``B`` batch, ``T`` samples at 16 kHz, ``F`` frames of 20 ms, ``D`` features.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.errors import CodecError
from audiocodec.spectral import mel_from_magnitude, stft
from audiocodec.training.losses.ct2weights import read_ct2_weights

SAMPLE_RATE = 16_000
WINDOW, HOP = 400, 160
DYNAMIC_RANGE = 8.0
"""The log-mel spectrum ends so many powers of ten below its maximum."""


class WhisperEncoder(nn.Module):
    """Audio to the features after each block.

    Args:
        mel_bands: of the input.
        dim: ``D``.
        heads: attention heads of a block.
        blocks: number of blocks.
        positions: most frames of a clip; a clip of 30 s has 1500.
    """

    positions: Tensor

    def __init__(self, mel_bands: int, dim: int, heads: int, blocks: int, positions: int) -> None:
        super().__init__()
        self.mel_bands = mel_bands
        self.conv1 = nn.Conv1d(mel_bands, dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, heads, 4 * dim, 0.0, F.gelu, batch_first=True, norm_first=True
            )
            for _ in range(blocks)
        )
        self.register_buffer("positions", torch.zeros(positions, dim))

    def forward(self, audio: Tensor) -> list[Tensor]:
        """``[B, 1, T]`` in [-1, 1], of up to 30 s -> features ``[B, F, D]`` after each block.

        Clips are not lengthened to 30 s: silence behind them would cost as much as speech.

        Raises:
            CodecError: the clip is longer than Whisper takes.
        """
        x = F.gelu(self.conv1(self.log_mel(audio)))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        if x.shape[1] > len(self.positions):
            raise CodecError(
                f"losses.recogniser: Whisper takes {len(self.positions) // 50} s at most; lower "
                "data.segment_seconds"
            )
        x = x + self.positions[: x.shape[1]]
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features

    def log_mel(self, audio: Tensor) -> Tensor:
        """``[B, 1, T]`` -> ``[B, M, 2 F]``, as Whisper's own front end computes it."""
        spectrum = stft(audio.float().squeeze(1), WINDOW, HOP)[..., :-1]
        power = spectrum.real.square() + spectrum.imag.square()
        mel = mel_from_magnitude(power, SAMPLE_RATE, self.mel_bands).clamp(min=1e-10).log10()
        lowest = mel.detach().amax(dim=(1, 2), keepdim=True) - DYNAMIC_RANGE
        return (torch.maximum(mel, lowest) + 4) / 4


def load_whisper_encoder(folder: Path) -> WhisperEncoder:
    """The encoder of the model in a folder, frozen, in float32 on the CPU.

    Raises:
        CodecError: ``folder/model.bin`` cannot be read, is damaged, or is no Whisper model in
            floating point.
    """
    path = folder / "model.bin"
    architecture, weights = read_ct2_weights(path)
    try:
        if architecture != "WhisperSpec":
            raise ValueError(f"a model of {architecture}")
        own = {name[8:]: x for name, x in weights.items() if name.startswith("encoder/")}
        dim, mel_bands, _ = own["conv1/weight"].shape
        positions = own["position_encodings/encodings"]
        blocks = sum(name.endswith("ffn/linear_0/bias") for name in own)
        encoder = WhisperEncoder(mel_bands, dim, int(own["num_heads"]), blocks, len(positions))
        encoder.load_state_dict(_converted(own, blocks))
    except (KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CodecError(
            f"{path}: not a Whisper model in float16 or float32 ({reason}); name the folder of one"
        ) from None
    return encoder.requires_grad_(False).eval()


def _converted(weights: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """CTranslate2's names of the encoder's weights to those of :class:`WhisperEncoder`."""
    state = {"positions": weights["position_encodings/encodings"]}
    names = {"conv1": "conv1", "conv2": "conv2"}
    for index in range(blocks):
        theirs, mine = f"layer_{index}", f"blocks.{index}"
        names[f"{mine}.self_attn.out_proj"] = f"{theirs}/self_attention/linear_1"
        names[f"{mine}.linear1"] = f"{theirs}/ffn/linear_0"
        names[f"{mine}.linear2"] = f"{theirs}/ffn/linear_1"
        for kind in ("weight", "bias"):
            joined = weights[f"{theirs}/self_attention/linear_0/{kind}"]
            state[f"{mine}.self_attn.in_proj_{kind}"] = joined
        for norm, part in (("norm1", "self_attention"), ("norm2", "ffn")):
            state[f"{mine}.{norm}.weight"] = weights[f"{theirs}/{part}/layer_norm/gamma"]
            state[f"{mine}.{norm}.bias"] = weights[f"{theirs}/{part}/layer_norm/beta"]
    for mine, theirs in names.items():
        for kind in ("weight", "bias"):
            state[f"{mine}.{kind}"] = weights[f"{theirs}/{kind}"]
    return state
