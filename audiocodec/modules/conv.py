"""Causal one-dimensional convolutions whose memory belongs to the caller.

Every layer is called as ``layer(x, state=None)``. With ``None`` the signal starts here and the past
is silence (zeros). With a :class:`StreamState` the layer prepends the last input columns and stores
the newest ones, so that a signal in pieces has the same output as the whole.

Shapes: ``B`` batch, ``C`` channels, ``T`` time in columns of the layer's own rate.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

SHORT_COLUMNS = 100
"""Up to this number a convolution is computed as a matrix product."""


StateShapes = dict[str, tuple[int, int]]
"""Channels and columns that a :class:`StreamState` holds, by layer."""


class StreamState:
    """What the layers of one stream remember between pieces: the last input columns of each.

    ``columns`` maps a layer's name in its network to ``[B, C, context]``. The caller owns the
    state; a codec can serve any number of streams, each with a state of its own. Tensors are
    replaced, never written into, so a :meth:`copy` costs nothing.
    """

    def __init__(self, columns: Mapping[str, Tensor] | None = None) -> None:
        self.columns = dict(columns or {})

    def prepend(self, layer: str, x: Tensor, context: int) -> Tensor:
        """``x [B, C, T]`` with the ``context`` columns before it, zeros at the start of a stream.

        Returns ``[B, C, context + T]`` and remembers its last ``context`` columns.
        """
        past = self.columns.get(layer)
        if past is None:
            past = x.new_zeros(x.shape[0], x.shape[1], context)
        extended = torch.cat([past, x], dim=-1)
        self.columns[layer] = extended[..., extended.shape[-1] - context :].clone()
        return extended

    def copy(self) -> "StreamState":
        """The same memory now; later pieces change either without the other."""
        return StreamState(self.columns)


def with_context(layer: "StreamedLayer", x: Tensor, state: StreamState | None) -> Tensor:
    """``x [B, C, T]`` -> ``[B, C, context + T]``, after the stream's memory or after silence."""
    if layer.context == 0:
        return x
    if state is None:
        return F.pad(x, (layer.context, 0))
    return state.prepend(layer.name, x, layer.context)


class StreamedLayer(nn.Module):
    """A layer that needs the last ``context`` columns of ``in_channels`` before a piece.

    ``name`` is its place in a :class:`StreamState`; :func:`name_layers` gives each layer of a
    network its own.
    """

    name = ""
    in_channels: int
    context: int


class CausalConv1d(StreamedLayer):
    """A convolution that sees only the past: ``[B, in, T]`` -> ``[B, out, T // stride]``.

    ``T`` must be a multiple of ``stride``. Output column ``t`` depends on input columns up to
    ``(t + 1) * stride - 1``. ``gain`` is how much a fresh layer amplifies noise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        conv = nn.Conv1d(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation)
        self.conv = initialised(conv, gain)
        self.in_channels = in_channels
        self.context = (kernel_size - 1) * dilation + 1 - stride

    def forward(self, x: Tensor, state: StreamState | None = None) -> Tensor:
        return convolve(self.conv, with_context(self, x, state))


class CausalConvTranspose1d(StreamedLayer):
    """An upsampling convolution: ``[B, in, T]`` -> ``[B, out, T * stride]``, kernel ``2 * stride``.

    Output columns ``t * stride ...`` depend on input columns ``t - 1`` and ``t`` only, so that one
    remembered input column is the whole state. That makes it a plain convolution of kernel 2 with
    ``stride`` outputs a column, interleaved: a matrix product, where PyTorch's own transposed
    convolution is several times slower on a CPU.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.in_channels = in_channels
        self.context = 1
        self.conv = initialised(nn.Conv1d(in_channels, out_channels * stride, 2))

    def forward(self, x: Tensor, state: StreamState | None = None) -> Tensor:
        x = convolve(self.conv, with_context(self, x, state))
        return unfold_patches(x, self.stride)


def convolve(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """``conv(x)``; for few columns, without gradients on a CPU, as one matrix product.

    For short pieces PyTorch's convolutions repack every weight at each call, or loop over columns:
    a frame takes them several times as long as reading the weights once.
    """
    (stride,), (dilation,) = conv.stride, conv.dilation
    return convolve_with(x, conv.weight, conv.bias, stride, dilation)


def convolve_with(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, dilation: int = 1
) -> Tensor:
    """The same with a weight ``[out, in, kernel]``."""
    batch, channels, length = x.shape
    kernel = weight.shape[2]
    columns = (length - dilation * (kernel - 1) - 1) // stride + 1
    if not _as_product(x, batch * columns):
        return F.conv1d(x, weight, bias, stride, dilation=dilation)
    of_item, of_channel, of_column = x.stride()
    taps = x.as_strided(
        (batch, columns, channels, kernel),
        (of_item, of_column * stride, of_channel, of_column * dilation),
    )
    rows = taps.reshape(batch * columns, channels * kernel)
    product = F.linear(rows, weight.reshape(-1, channels * kernel), bias)
    return product.view(batch, columns, -1).transpose(1, 2)


def _as_product(x: Tensor, columns: int) -> bool:
    """Whether a matrix product is faster, and neither a gradient nor a graph is recorded."""
    if x.device.type != "cpu" or torch.is_grad_enabled() or not columns:
        return False
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
        return False
    return columns <= SHORT_COLUMNS


def name_layers(network: nn.Module) -> None:
    """Name the layers that remember columns after their places in ``network``."""
    for name, layer in network.named_modules():
        if isinstance(layer, StreamedLayer):
            layer.name = name


def state_shapes(network: nn.Module) -> StateShapes:
    """Of the states of ``network``."""
    return {
        layer.name: (layer.in_channels, layer.context)
        for layer in network.modules()
        if isinstance(layer, StreamedLayer) and layer.context
    }


def initialised(conv: nn.Conv1d, gain: float = 1.0) -> nn.Conv1d:
    """Weights that change the size of a signal by ``gain``, biases of zero, weight norm.

    PyTorch's own initialisation shrinks a signal by 3^-0.5 a layer and adds biases that soon exceed
    it: speech at -26 dB would reach the latents as a ripple on a constant. A layer on the meta
    device gets no weight norm: its weights are to come from a file.
    """
    if conv.weight.is_meta:
        return conv
    nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
    conv.weight.data *= gain
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return parametrizations.weight_norm(conv)


def silence(conv: nn.Conv1d) -> None:
    """Make the output of a fresh weight-normed layer 0. Gradients reach its norms first."""
    if has_weight_norm(conv):
        conv.get_parameter("parametrizations.weight.original0").data.zero_()


def fold_patches(x: Tensor, patch: int) -> Tensor:
    """``[B, C, T * patch]`` -> ``[B, C * patch, T]``: neighbours in time become channels."""
    batch, channels, length = x.shape
    x = x.reshape(batch, channels, length // patch, patch)
    return x.permute(0, 1, 3, 2).reshape(batch, channels * patch, length // patch)


def unfold_patches(x: Tensor, patch: int) -> Tensor:
    """``[B, C * patch, T]`` -> ``[B, C, T * patch]``: the inverse of :func:`fold_patches`."""
    batch, channels, length = x.shape
    x = x.reshape(batch, channels // patch, patch, length)
    return x.permute(0, 1, 3, 2).reshape(batch, channels // patch, length * patch)


def has_weight_norm(module: nn.Module) -> bool:
    """Whether any weight below ``module`` is weight-normed."""
    return any(parametrize.is_parametrized(layer, "weight") for layer in module.modules())


def without_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a module by name, each weight-normed weight replaced by its value."""
    plain = dict(tensors)
    for name, direction in tensors.items():
        layer, _, end = name.rpartition(".parametrizations.weight.")
        length = tensors.get(f"{layer}.parametrizations.weight.original0")
        if end != "original1" or length is None or length.shape != (len(direction), 1, 1):
            continue
        del plain[name], plain[f"{layer}.parametrizations.weight.original0"]
        plain[f"{layer}.weight"] = torch._weight_norm(direction, length, 0)
    return plain
