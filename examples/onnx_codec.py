"""Encode and decode a WAV with NumPy, soundfile and ONNX Runtime alone, piece by piece.

codec export --onnx exported
python examples/onnx_codec.py exported in.wav out.wav

ORT_DISABLE_TELEMETRY=1 in the environment keeps ONNX Runtime from reporting its use to Microsoft.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile


class Stream:
    """One of the two graphs and its state."""

    def __init__(self, folder, graph, channels):
        file = Path(folder, graph["file"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # several wait for one another on a busy machine
        self.session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
        self.input = graph["input"]
        self.state = {
            s["input"]: np.zeros((channels, *s["shape"]), np.float32) for s in graph["states"]
        }

    def push(self, piece):
        result, *after = self.session.run(None, {self.input: piece, **self.state})
        self.state = dict(zip(self.state, after, strict=True))
        return result


def code(folder, source, target, frames=50):
    """Write the reconstruction; return the codes, int64 [channels, codebooks, frames]."""
    model = json.loads(Path(folder, "model.json").read_text())
    hop, lookahead = model["hop_length"], model["lookahead"]
    audio, rate = soundfile.read(source, dtype="float32", always_2d=True)  # [samples, channels]
    if rate != model["sample_rate"]:
        sys.exit(f"error: {source}: is at {rate} Hz; resample it to {model['sample_rate']} Hz")
    samples, channels = audio.shape
    audio = np.pad(audio.T[:, None], ((0, 0), (0, 0), (0, -samples % hop)))  # whole frames
    encoder, decoder = (Stream(folder, model[name], channels) for name in ("encoder", "decoder"))
    codes, late = [], []
    for start in range(0, samples, frames * hop):
        codes.append(encoder.push(audio[..., start : start + frames * hop]))
        late.append(decoder.push(codes[-1]))  # here codes could travel, or be kept
    if lookahead:  # the decoder is so many frames late: -1 stands for the end
        late.append(decoder.push(np.full((channels, len(model["codebook_sizes"]), lookahead), -1)))
    audio = np.concatenate(late, axis=-1)[:, 0, lookahead * hop :][:, :samples]
    soundfile.write(target, audio.T.clip(-1, 1), rate)
    return np.concatenate(codes, axis=-1)


if __name__ == "__main__":
    codes = code(*sys.argv[1:4])
    print(f"{sys.argv[3]}: from codes [channels, codebooks, frames] {list(codes.shape)}")
