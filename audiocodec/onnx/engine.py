"""A codec whose networks ONNX Runtime computes: faster on a CPU for short pieces.

:func:`use_onnx` puts :class:`OnnxNetwork` in the place of a codec's encoder and decoder. It is
called as they are and keeps the same state, so all that is built on a codec, streams, files,
concealment and saved states among it, stays as it is; and there is one road from latents to codes,
PyTorch's.

The graphs are made once for each model and kept in the user's cache, by default in
``~/.cache/audiocodec/onnx``. They may be deleted at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.modules.conv import StreamState, remembering
from audiocodec.onnx.graph import Step, import_onnxruntime
from audiocodec.paths import replacing

MOST_DIFFERENT = 1e-4
"""Between what a new graph and its network give, as a share of the largest value."""


def use_onnx(codec: Codec, log: Callable[[str], object] = lambda line: None) -> Codec:
    """Have ONNX Runtime compute ``codec``'s encoder and decoder from now on, and return it.

    Args:
        codec: in use (:func:`~audiocodec.checkpoint.load_codec`), in float32 and on the CPU.
        log: called with a line before graphs are made, which takes some seconds.

    Raises:
        CodecError: packages are missing (the extra ``onnx``), a codec of another kind, a cache that
            cannot be written, or a graph that does not give what its network gives.
    """
    import_onnxruntime("the engine onnx")
    if codec.dtype != torch.float32 or codec.device.type != "cpu":
        raise CodecError("the engine onnx computes in float32 and on the CPU only")
    if not codec.fingerprint:
        raise CodecError("the engine onnx needs a saved codec: its graphs are kept by fingerprint")
    folder = cache_folder() / f"{codec.fingerprint}-{version('audiocodec')}"
    networks = {"encoder": codec.encoder, "decoder": codec.decoder}
    paths = {name: folder / f"{name}.onnx" for name in networks}
    if not all(path.is_file() for path in paths.values()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CodecError(
                f"{folder}: cannot be made ({error.strerror}); name another place with "
                "XDG_CACHE_HOME"
            ) from None
        log(f"making the ONNX graphs of {codec.name}, once, in {folder}")
        with torch.no_grad():
            seeded = torch.Generator().manual_seed(0)
            audio = 0.1 * torch.randn(2, 1, 10 * codec.hop_length, generator=seeded)
            pieces = {"encoder": audio, "decoder": codec.encoder(audio)}
        for name, network in networks.items():
            _make(codec, network, pieces[name], paths[name])
    for name, network in networks.items():
        codec.add_module(name, OnnxNetwork(network, paths[name]))
    return codec


def cache_folder() -> Path:
    """Where this user's graphs are: in ``$XDG_CACHE_HOME``, or in ``~/.cache`` without one."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache, "audiocodec", "onnx")


class OnnxNetwork(nn.Module):
    """An encoder or a decoder by its graph, called as ``network`` is.

    It has the layers of ``network``, under their names, for what a state says of them.
    """

    def __init__(self, network: nn.Module, path: Path) -> None:
        super().__init__()
        self._modules.update(network._modules)
        self.path = path
        self._layers = remembering(self)
        self._results = ["output", *(f"next.{name}" for name in self._layers)]
        self._sessions: dict[int, Any] = {}

    def forward(self, x: Tensor, state: StreamState | None = None) -> Tensor:
        """As the network's own, without gradients; on as many threads as PyTorch has now."""
        state = StreamState() if state is None else state
        pieces = {"input": x.detach().numpy()}
        for name, layer in self._layers.items():
            columns = state.recall(layer, x, layer.conv.in_channels, layer.context)
            pieces[f"past.{name}"] = columns.numpy()
        result, *after = self._session().run(self._results, pieces)
        for layer, columns in zip(self._layers.values(), after, strict=True):
            state.remember(layer, torch.from_numpy(columns))
        return torch.from_numpy(result)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What ``to`` and the like do. CodecError for another device."""
        if fn(torch.zeros((), device="cpu")).device.type != "cpu":
            raise CodecError("the engine onnx computes on the CPU only; load the codec again")
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        """A copy, here or in another process, opens sessions of its own."""
        return {**self.__dict__, "_sessions": {}}

    def _session(self) -> Any:
        """ONNX Runtime's; for several files at a time, the threads are fewer than at the start."""
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


class NetworkStep(Step):
    """A network alone: ``[B, C, T]`` -> what it gives."""

    input_name, output_name = "input", "output"

    def step(self, piece: Tensor, state: StreamState) -> Tensor:
        return self.network(piece, state)


def _make(codec: Codec, network: nn.Module, piece: Tensor, path: Path) -> None:
    """Write the graph of ``network`` to ``path``, whole, compared with it, or not at all."""
    with replacing(path) as temporary, torch.no_grad():
        NetworkStep(codec, network, piece).export(temporary)
        expected = network(piece)
        error = (OnnxNetwork(network, temporary)(piece) - expected).abs().max()
        if not error <= MOST_DIFFERENT * expected.abs().max().clamp(min=1.0):
            raise CodecError(
                f"{path}: ONNX Runtime does not give what PyTorch gives (it differs by "
                f"{error:.1e}); use --engine torch"
            )
