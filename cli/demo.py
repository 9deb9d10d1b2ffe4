"""`codec demo`: encode and decode a bundled clip at three bitrates, with scores and a picture."""

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
    from audiocodec.runtime import RuntimeCodec


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for the results; created if it does not exist.",
)
@click.option(
    "--clip",
    type=click.Choice(["female", "male"]),
    default="female",
    show_default=True,
    help="Which of the two bundled clips.",
)
@model_option
@device_option
@threads_option()
@json_option("model, clip, seconds, levels (scores and files of each bitrate), picture, ...")
def command(
    out: Path, clip: str, model: str, device: str, threads: int | None, as_json: bool
) -> None:
    """Encode and decode a bundled clip at three bitrates.

    Prints sizes, scores and speed. Writes token files, WAV files and a picture of spectrograms.

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


def run(codec: RuntimeCodec, clip: str, out: Path) -> dict[str, Any]:
    """Encode and decode the clip at three bitrates, and write all files into ``out``."""
    import audiocodec
    from audiocodec.audio import load_audio, save_audio
    from audiocodec.evaluation import default_num_codebooks, score_pair, warm_up
    from audiocodec.files import decode_file, encode_file
    from audiocodec.paths import replacing
    from audiocodec.pictures import draw_spectrograms

    source = Path(audiocodec.__file__).parent / "clips" / f"{clip}.flac"
    original, sample_rate = load_audio(source)
    save_audio(out / "original.wav", original, sample_rate)
    pictures = {"original": original[0].numpy()}
    levels = []
    warm_up(codec)
    for num_codebooks in default_num_codebooks(codec)[-3:]:
        name = f"{num_codebooks}codebooks"
        tokens, wav = out / f"{name}.tok", out / f"{name}.wav"
        encoded = encode_file(source, tokens, codec, num_codebooks)
        decoded = decode_file(tokens, wav, codec)
        kbps = 8e-3 * encoded.file_bytes / encoded.seconds
        decoded_audio, _ = load_audio(wav)
        _, scores, _ = score_pair(decoded_audio.numpy(), original.numpy(), sample_rate)
        pictures[f"{kbps:.1f} kbps"] = decoded_audio[0].numpy()
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
    """A table of the result, and what to listen to and to try next."""
    from audiocodec.evaluation.metrics import METRICS
    from audiocodec.evaluation.tables import columns, metric_titles

    seconds, size = result["seconds"], result["original_bytes"]
    scores = ("pesq_wb", "stoi")
    lines = [
        ["", "kbps", "bytes", "smaller", *metric_titles(scores), "encode", "decode"],
        ["original", f"{8e-3 * size / seconds:.1f}", str(size), "", "", "", "", ""],
    ]
    for level in result["levels"]:
        lines.append(
            [
                f"{level['num_codebooks']} codebooks",
                f"{level['kbps']:.1f}",
                str(level["bytes"]),
                f"{size / level['bytes']:.0f}x",
                *(f"{level[n]:{METRICS[n].format}}" if n in level else "-" for n in scores),
                f"{seconds / level['encode_seconds']:.0f}x",
                f"{seconds / level['decode_seconds']:.0f}x",
            ]
        )
    least, best = result["levels"][0], result["levels"][-1]
    return "\n".join(
        [
            f"{seconds:.1f} s of speech (LibriSpeech, CC BY 4.0) through the model "
            f"{result['model']}:",
            "",
            *(line.rstrip() for line in columns(lines, left=True)),
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
