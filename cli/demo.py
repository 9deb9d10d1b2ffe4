"""codec demo: run the model on a bundled clip at three bitrates, with audio and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    device_option,
    json_option,
    model_option,
    resolve_device,
    threads_option,
    use_threads,
)

if TYPE_CHECKING:
    from audiocodec.codec import Codec


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for the results; made if it is not there.",
)
@click.option(
    "--clip",
    type=click.Choice(["female", "male"]),
    default="female",
    show_default=True,
    help="Which of the two bundled sentences.",
)
@model_option
@device_option
@threads_option()
@json_option("model, clip, seconds, levels (scores and files of each bitrate), picture, ...")
def command(
    out: Path, clip: str, model: str, device: str, threads: int | None, as_json: bool
) -> None:
    """Encode a bundled sentence at three bitrates and decode it again.

    Prints sizes, scores and speed; writes the token files, WAVs and one picture to listen to and
    look at.

    \b
    codec demo                              writes into the folder demo
    codec demo --clip male --out listen
    codec demo --model runs/mine/model      a model of your own
    """
    from audiocodec.checkpoint import load_codec
    from audiocodec.errors import CodecError
    from audiocodec.evaluation.metrics import check_installed

    check_installed("codec demo")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"--out {out}: not a folder to write to ({error.strerror})") from None
    use_threads(threads)
    result = run(load_codec(model, resolve_device(device)), clip, out)
    click.echo(json.dumps(result, indent=2) if as_json else describe(result))


def run(codec: Codec, clip: str, out: Path) -> dict[str, Any]:
    """Code the clip at a quarter, half and all of the codebooks; write everything into ``out``."""
    import audiocodec
    from audiocodec.audio import load_audio, save_audio
    from audiocodec.evaluation import ladder, score_pair, warm_up
    from audiocodec.files import decode_file, encode_file
    from audiocodec.paths import replacing
    from audiocodec.pictures import draw_spectrograms

    source = Path(audiocodec.__file__).parent / "clips" / f"{clip}.flac"
    original, sample_rate = load_audio(source)
    save_audio(out / "original.wav", original, sample_rate)
    pictures = {"original": original[0].numpy()}
    levels = []
    warm_up(codec)
    for num_codebooks in ladder(codec)[-3:]:
        kbps = codec.bitrate(num_codebooks) / 1000
        tokens, wav = out / f"{kbps:g}kbps.tok", out / f"{kbps:g}kbps.wav"
        encoded = encode_file(source, tokens, codec, num_codebooks)
        decoded = decode_file(tokens, wav, codec)
        decoded_audio, _ = load_audio(wav)
        _, scores, _ = score_pair(decoded_audio.numpy(), original.numpy(), sample_rate)
        pictures[f"{kbps:g} kbps"] = decoded_audio[0].numpy()
        levels.append(
            {
                "num_codebooks": num_codebooks,
                "kbps": kbps,
                "tokens": str(tokens),
                "wav": str(wav),
                "bytes": encoded.file_bytes,
                "encode_seconds": encoded.elapsed,
                "decode_seconds": decoded.elapsed,
                **scores,
            }
        )
    with replacing(out / "spectrograms.png") as temporary:
        draw_spectrograms(pictures, sample_rate).savefig(temporary, format="png")
    return {
        "model": codec.name,
        "clip": str(source),
        "seconds": original.shape[1] / sample_rate,
        "sample_rate": sample_rate,
        "original": str(out / "original.wav"),
        "original_bytes": (out / "original.wav").stat().st_size,
        "levels": levels,
        "picture": str(out / "spectrograms.png"),
    }


def describe(result: dict[str, Any]) -> str:
    """The result in words: a table, what to listen to, what to try next."""
    seconds, size = result["seconds"], result["original_bytes"]
    lines = [
        f"{seconds:.1f} s of speech (LibriSpeech, CC BY 4.0) through the model {result['model']}:",
        "",
        "               kbps     bytes  smaller  PESQ-WB   STOI  encode  decode",
        f"original  {8e-3 * size / seconds:9.1f}  {size:8d}",
    ]
    for level in result["levels"]:
        pesq, stoi = level.get("pesq_wb"), level.get("stoi")
        lines.append(
            f"{level['num_codebooks']:2d} codebooks {level['kbps']:6.1f}  {level['bytes']:8d}"
            f"  {size / level['bytes']:6.0f}x"
            + (f"  {pesq:7.2f}" if pesq is not None else "        -")
            + (f"  {stoi:5.2f}" if stoi is not None else "      -")
            + f"  {seconds / level['encode_seconds']:5.0f}x"
            + f"  {seconds / level['decode_seconds']:5.0f}x"
        )
    least, best = result["levels"][0], result["levels"][-1]
    return "\n".join(
        [
            *lines,
            "",
            "PESQ-WB: 1 bad to 4.6 perfect. STOI: intelligibility, 0 to 1.",
            "Speed: times faster than real time, files read and written.",
            "",
            f"Listen to  {result['original']}, then {best['wav']}: is the voice the same?",
            f"      and  {least['wav']}: is every word still there?",
            f"Look at    {result['picture']}",
            "",
            "Next, a recording of your own:",
            "  codec encode YOURS.wav yours.tok -n 6",
            "  codec decode yours.tok yours.wav",
            "  codec evaluate YOURS.wav",
        ]
    )
