"""`codec export`: a model for programs without PyTorch."""

from __future__ import annotations

import json

import click

from .options import json_option, model_option, overwrite_option, threads_option, use_threads


@click.command()
@click.option(
    "--onnx",
    "folder",
    required=True,
    metavar="DIR",
    type=click.Path(),
    help="The folder to write; all of it appears, or nothing.",
)
@model_option
@overwrite_option
@threads_option()
@json_option("folder, num_bytes, equal_codes, audio_error.")
def command(folder: str, model: str, overwrite: bool, threads: int | None, as_json: bool) -> None:
    """Write a model as ONNX graphs, for programs without PyTorch.

    DIR gets encoder.onnx and decoder.onnx, each one step of a stream: a piece of any number of
    frames and the state go in, codes (or audio) and the new state come out. model.json says what a
    caller must know: sample rate, hop (samples in a frame), look-ahead, codebook sizes, the model's
    fingerprint, and names and shapes of the states, which are zeros at the start.

    The graphs are compared with PyTorch on a bundled clip before they are put in place. Needs the
    extra `onnx` (pip install 'audiocodec[onnx]'). examples/onnx_codec.py encodes and decodes a WAV
    with them, in forty lines that need NumPy, soundfile and ONNX Runtime alone.

    \b
    codec export --onnx exported
    codec export --onnx exported --model runs/mine/model --overwrite
    python examples/onnx_codec.py exported in.wav out.wav
    """
    from audiocodec.checkpoint import load_codec
    from audiocodec.onnx.export import export_onnx

    use_threads(threads)
    export = export_onnx(load_codec(model), folder, overwrite)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "folder": str(export.folder),
                    "num_bytes": export.num_bytes,
                    "equal_codes": export.equal_codes,
                    "audio_error": export.audio_error,
                },
                indent=2,
            )
        )
    else:
        click.echo(
            f"{export.folder}: {export.num_bytes / 1e6:.1f} MB; with ONNX Runtime "
            f"{100 * export.equal_codes:.3f} % of the codes are PyTorch's, audio within "
            f"{export.audio_error:.0e}"
        )
