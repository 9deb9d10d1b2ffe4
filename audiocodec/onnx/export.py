"""A codec as two ONNX graphs and a page of JSON, for programs without PyTorch.

Each graph is one step of a stream: a piece and the state go in, what the piece becomes and the new
state come out. The state is a tensor for each layer that remembers columns, zeros at the start; it
belongs to the caller, as everywhere here. The graphs are traced from the codec in use: the same
layers, search and tables as those of :class:`~audiocodec.streaming.StreamEncoder` and
``StreamDecoder``.

``encoder.onnx``
    ``audio`` float32 ``[B, 1, F * hop_length]``, F > 0 -> ``codes`` int64 ``[B, K, F]``, of all
    codebooks: the first n are the codes of n codebooks.
``decoder.onnx``
    ``codes`` int64 ``[B, K, F]``, F > 0 -> ``audio`` float32 ``[B, 1, F * hop_length]``, which is
    ``lookahead`` frames late. A code of -1 is one that is not used, so -1 from codebook n on
    decodes n codebooks; a frame whose first code is -1 is the padding that ends a stream.
``model.json``
    What a caller must know: rates, sizes, the fingerprint, names and shapes of the states.

The shape letters are in :mod:`audiocodec.codec`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiocodec.audio import load_audio
from audiocodec.bundled import GOLDEN_CLIP
from audiocodec.errors import CodecError
from audiocodec.modules.conv import StreamState
from audiocodec.onnx.graph import OPSET, Step, import_onnxruntime
from audiocodec.paths import replacing_folder
from audiocodec.runtime import RuntimeCodec, TorchEngine

MODEL_NAME = "model.json"
FORMAT = 1
CHECK_SECONDS = 2.0
TRACED_FRAMES = 5
"""In a batch of 2: so few that the search is traced in its plain form, without blocks."""
MIN_EQUAL_CODES = 0.99
"""Share, in the check of an export: rounding may turn a near tie, a mistake turns many."""
MAX_DIFFERENCE = 1e-4
"""Of the decoded samples, as a share of the largest one."""


@dataclass(frozen=True)
class Export:
    """What was written, and how close ONNX Runtime comes to PyTorch with it.

    ``equal_codes`` is a share, ``audio_error`` the largest difference of two samples.
    """

    folder: Path
    num_bytes: int
    equal_codes: float
    audio_error: float


def export_onnx(codec: RuntimeCodec, folder: str | Path, overwrite: bool = False) -> Export:
    """Write a codec's ``encoder.onnx``, ``decoder.onnx`` and ``model.json``, all of them or none.

    The graphs are run with ONNX Runtime and compared with the codec before they are put in place.

    Args:
        codec: in float32, on the CPU, computed by PyTorch.
        overwrite: replace a folder that holds an earlier export and nothing else.

    Raises:
        CodecError: packages are missing (the extra ``onnx``), another codec, the folder is there
            already or cannot be made, or the graphs do not compute what the codec computes.
    """
    onnxruntime = import_onnxruntime("an export")
    engine = codec.engine
    if (
        not isinstance(engine, TorchEngine)
        or codec.device.type != "cpu"
        or codec.dtype != torch.float32
    ):
        raise CodecError("an export takes a codec in float32, on the CPU, computed by PyTorch")
    audio = torch.zeros(2, 1, TRACED_FRAMES * codec.hop_length)
    codes = torch.zeros(2, codec.num_codebooks, TRACED_FRAMES, dtype=torch.long)
    names = ["encoder.onnx", "decoder.onnx", MODEL_NAME]
    with replacing_folder(Path(folder), names if overwrite else []) as temporary:
        page = {
            "format": FORMAT,
            "model": codec.name,
            "fingerprint": codec.fingerprint,
            "sample_rate": codec.sample_rate,
            "hop_length": codec.hop_length,
            "lookahead": codec.lookahead,
            "codebook_sizes": codec.codebook_sizes,
            "opset": OPSET,
            "encoder": encoder_step(codec, engine).export(audio, temporary / names[0]),
            "decoder": decoder_step(codec, engine).export(codes, temporary / names[1]),
        }
        (temporary / MODEL_NAME).write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")
        equal_codes, audio_error = _compare(codec, page, temporary, onnxruntime)
        num_bytes = sum(path.stat().st_size for path in temporary.iterdir())
    return Export(Path(folder), num_bytes, equal_codes, audio_error)


def encoder_step(codec: RuntimeCodec, engine: TorchEngine) -> Step:
    """``audio [B, 1, F * hop]`` -> ``codes [B, K, F]``."""

    def compute(audio: Tensor, state: StreamState) -> Tensor:
        latents = engine.encode(audio, state)
        codes = codec.tables.search(codec.tables.project(latents))
        return codes.view(audio.shape[0], -1, codec.num_codebooks).transpose(1, 2)

    return Step(compute, codec.encoder_state_shapes, engine.encoder, "audio", "codes")


def decoder_step(codec: RuntimeCodec, engine: TorchEngine) -> Step:
    """``codes [B, K, F]``, -1 where there are none, -> ``audio [B, 1, F * hop]``."""

    def compute(codes: Tensor, state: StreamState) -> Tensor:
        rows = codes.transpose(1, 2).flatten(0, 1)
        latents = codec.tables.outputs(rows) * (rows[:, :1] >= 0)
        latents = latents.view(codes.shape[0], -1, codec.latent_dim).transpose(1, 2)
        return engine.decode(latents, state)

    return Step(compute, codec.decoder_state_shapes, engine.decoder, "codes", "audio")


def _compare(
    codec: RuntimeCodec, page: dict[str, Any], folder: Path, onnxruntime: Any
) -> tuple[float, float]:
    """Share of equal codes and the largest difference of samples, of speech in unequal pieces.

    Raises:
        CodecError: more than rounding explains.
    """
    hop, lookahead = codec.hop_length, codec.lookahead
    audio, _ = load_audio(GOLDEN_CLIP, codec.sample_rate)
    frames = min(round(CHECK_SECONDS * codec.frame_rate), audio.shape[-1] // hop)
    audio = audio[:1, None, : frames * hop]
    codes = codec.encode(audio)
    cuts = [1, min(4, frames)]
    pieces = np.split(audio.numpy(), [cut * hop for cut in cuts], axis=-1)
    found = _stream(page["encoder"], folder, [p for p in pieces if p.size], onnxruntime)
    equal = float((found == codes.numpy()).mean())
    ending = np.full((1, codec.num_codebooks, lookahead), -1)
    late = np.split(np.concatenate([codes.numpy(), ending], axis=-1), cuts, axis=-1)
    decoded = _stream(page["decoder"], folder, [p for p in late if p.size], onnxruntime)
    expected = codec.decode(codes).numpy()
    error = float(np.abs(decoded[..., lookahead * hop :] - expected).max())
    if equal < MIN_EQUAL_CODES or error > MAX_DIFFERENCE * max(1.0, float(np.abs(expected).max())):
        raise CodecError(
            f"ONNX Runtime {onnxruntime.__version__} does not compute what PyTorch computes: "
            f"{equal:.3%} of the codes are equal, audio differs by up to {error:.1e}; "
            "nothing was written"
        )
    return equal, error


def _stream(
    graph: dict[str, Any], folder: Path, pieces: Sequence[Any], onnxruntime: Any
) -> np.ndarray[Any, Any]:
    """The results of the pieces, one after the other, joined."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        folder / graph["file"], options, providers=["CPUExecutionProvider"]
    )
    state = {s["input"]: np.zeros((1, *s["shape"]), np.float32) for s in graph["states"]}
    results = []
    for piece in pieces:
        result, *after = session.run(None, {graph["input"]: piece, **state})
        state = dict(zip(state, after, strict=True))
        results.append(result)
    return np.concatenate(results, axis=-1)
