"""ONNX Runtime as the engine of a codec: faster on a CPU for short pieces.

It computes the encoder and the decoder alone. Codes come from the same tables as with PyTorch, and
streams, files and saved states work alike.

The graphs are made once for each model and kept in the user's cache, by default in
``~/.cache/audiocodec/onnx``. They may be deleted at any time.
"""

from __future__ import annotations

import logging
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.modules.conv import StateShapes, StreamState, state_shapes
from audiocodec.onnx.graph import Compute, Step, import_onnxruntime
from audiocodec.paths import replacing

log = logging.getLogger(__name__)

PIECE_FRAMES = 250
"""Longer audio goes through a graph in pieces: attention of a whole file would need its square."""
LAYERS = 2
"""Raised when layers compute something else from the same weights: older graphs are not used."""
MAX_DIFFERENCE = 1e-4
"""Between the outputs of a new graph and of its network, as a share of the largest value."""


class OnnxEngine:
    """ONNX Runtime on the CPU in float32, on as many threads as PyTorch has at each call.

    Args:
        codec: without weight norm and gradients, as
            :func:`~audiocodec.checkpoint.load_codec` reads it.

    Raises:
        CodecError: packages are missing (the extra ``onnx``), another device or precision, a codec
            that was never saved, a cache that cannot be written, or a graph whose output is not
            that of its network.
    """

    def __init__(self, codec: Codec) -> None:
        import_onnxruntime("the engine onnx")
        self.device, self.dtype = torch.device("cpu"), torch.float32
        if codec.dtype != self.dtype or codec.device != self.device:
            raise CodecError("the engine onnx computes in float32 and on the CPU only")
        if not codec.fingerprint:
            raise CodecError(
                "the engine onnx needs a saved codec: its graphs are kept by fingerprint"
            )
        folder = cache_folder() / f"{codec.fingerprint}-{version('audiocodec')}-{LAYERS}"
        parts = ("encoder", codec.encoder, codec.hop_length), ("decoder", codec.decoder, 1)
        self._graphs = {
            name: Graph(folder / f"{name}.onnx", state_shapes(network), PIECE_FRAMES * frame)
            for name, network, frame in parts
        }
        if not all(graph.path.is_file() for graph in self._graphs.values()):
            self._make_graphs(codec, folder)

    def encode(self, audio: Tensor, state: StreamState | None = None) -> Tensor:
        return self._graphs["encoder"](audio, state)

    def decode(self, latents: Tensor, state: StreamState | None = None) -> Tensor:
        return self._graphs["decoder"](latents, state)

    def _make_graphs(self, codec: Codec, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CodecError(
                f"{folder}: cannot be made ({error.strerror}); name another place with "
                "XDG_CACHE_HOME"
            ) from None
        log.info("making the ONNX graphs of %s, once, in %s", codec.name, folder)
        seeded = torch.Generator("cpu").manual_seed(0)
        audio = 0.1 * torch.randn(2, 1, 10 * codec.hop_length, generator=seeded)
        with torch.no_grad():
            pieces = {"encoder": audio, "decoder": codec.encoder(audio)}
            _make(codec.encoder, self._graphs["encoder"], pieces["encoder"])
            _make(codec.decoder, self._graphs["decoder"], pieces["decoder"])


def cache_folder() -> Path:
    """Where this user's graphs are: in ``$XDG_CACHE_HOME``, or in ``~/.cache`` without one."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache, "audiocodec", "onnx")


class Graph:
    """An encoder's or decoder's graph, called as the network is.

    Args:
        shapes: of the state.
        longest: columns of a piece that it computes at once.
    """

    def __init__(self, path: Path, shapes: StateShapes, longest: int) -> None:
        self.path = path
        self.shapes = shapes
        self.longest = longest
        self._results = ["output", *(f"next.{layer}" for layer in shapes)]
        self._sessions: dict[int, Any] = {}

    def __call__(self, signal: Tensor, state: StreamState | None = None) -> Tensor:
        state = StreamState() if state is None else state
        pieces = signal.split(self.longest, dim=-1)
        return torch.cat([self._next(piece, state) for piece in pieces], dim=-1)

    def _next(self, piece: Tensor, state: StreamState) -> Tensor:
        columns = state.columns
        inputs = {"input": piece.detach().numpy()}
        for layer, shape in self.shapes.items():
            past = columns.get(layer)
            past = piece.new_zeros(len(piece), *shape) if past is None else past
            inputs[f"past.{layer}"] = past.numpy()
        result, *after = self._session().run(self._results, inputs)
        for layer, found in zip(self.shapes, after, strict=True):
            state.columns[layer] = torch.from_numpy(found)
        return torch.from_numpy(result)

    def __getstate__(self) -> dict[str, Any]:
        """A copy, here or in another process, opens sessions of its own."""
        return {**self.__dict__, "_sessions": {}}

    def _session(self) -> Any:
        """A session of ONNX Runtime with as many threads as PyTorch has now."""
        threads = torch.get_num_threads()
        if threads not in self._sessions:
            onnxruntime = import_onnxruntime("the engine onnx")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            # Threads that spin while they wait slow the others down: two by twice, measured.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            options.log_severity_level = 3  # errors; they are raised as well
            try:
                self._sessions[threads] = onnxruntime.InferenceSession(
                    self.path, options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:
                reason = (str(error).splitlines() or [""])[0]
                raise CodecError(
                    f"{self.path}: ONNX Runtime cannot read it ({reason}); delete it"
                ) from None
        return self._sessions[threads]


def _make(network: nn.Module, graph: Graph, piece: Tensor) -> None:
    """Write the graph of ``network``, whole and compared with it, or not at all."""
    compute: Compute = network
    with replacing(graph.path) as temporary:
        Step(compute, graph.shapes, network, "input", "output").export(piece, temporary)
        expected = network(piece)
        error = (Graph(temporary, graph.shapes, graph.longest)(piece) - expected).abs().max()
        if not error <= MAX_DIFFERENCE * expected.abs().max().clamp(min=1.0):
            raise CodecError(
                f"{graph.path}: ONNX Runtime does not compute what PyTorch computes (it differs by "
                f"{error:.1e}); use --engine torch"
            )
