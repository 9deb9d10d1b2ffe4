"""Fixed against context coding: bitrate of a long file, quality, and speed.

    python benchmarks/coding.py TEST_CLEAN_52 [--beam 4]

All clips are joined to one file, so that headers do not count once for each clip, and encoded and
decoded with both codings. Bitrates are of whole files. Scores are means over the single clips.
Speed is CPU time of whole files, one thread. Needs the extra `eval`.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import torch

from audiocodec import CodecError, evaluate, find_audio, load_audio, load_codec, save_audio
from audiocodec.files import decode_file, encode_file
from audiocodec.tokens import TokenFile
from audiocodec.tokens.header import CONTEXT, FIXED


@click.command(help=__doc__)
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="speech_16khz", show_default=True)
@click.option("-n", "numbers", default="1,2,3,4,6,8,12,14,16", show_default=True)
@click.option("--beam", default=1, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Processes that score.")
def main(clips: Path, model: str, numbers: str, beam: int, jobs: int) -> None:
    torch.set_num_threads(1)
    codec = load_codec(model)
    if codec.context is None:
        raise CodecError(f"model {model}: has no context model; make one with codec train-context")
    counts = [int(number) for number in numbers.split(",")]
    files = find_audio(clips)
    scores = evaluate(codec, files, counts, beam=beam, jobs=jobs, progress=True)
    joined = torch.cat([load_audio(file, codec.sample_rate)[0] for file in files], dim=1)
    seconds = joined.shape[1] / codec.sample_rate
    click.echo(
        f"model {codec.fingerprint}, context model {codec.context.fingerprint}, beam {beam}; "
        f"{len(files)} clips of {clips.name}, {seconds:.0f} s\n"
    )
    click.echo(
        "| codebooks | kbps, fixed | kbps, context | bits of codes saved | PESQ-WB | STOI "
        "| encode, fixed | context | decode, fixed | context |"
    )
    click.echo("|" + " -- |" * 10)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "joined.wav"), Path(folder, "back.wav")
        save_audio(source, joined, codec.sample_rate)
        for count in counts:
            kbps, payload, encode, decode = [], [], [], []
            for coding in (FIXED, CONTEXT):
                tokens = Path(folder, f"{coding}.tok")
                began = time.process_time()
                encode_file(source, tokens, codec, count, beam=beam, coding=coding)
                middle = time.process_time()
                decode_file(tokens, target, codec)
                encode.append(f"{seconds / (middle - began):.0f}x")
                decode.append(f"{seconds / (time.process_time() - middle):.0f}x")
                with TokenFile(tokens, codec.context) as written:
                    payload.append(written.payload_bytes)
                kbps.append(f"{8e-3 * tokens.stat().st_size / seconds:.2f}")
            means = [scores.mean(name, count) for name in ("pesq_wb", "stoi")]
            pesq, stoi = (mean.mean if mean else float("nan") for mean in means)
            saved = f"{100 - 100 * payload[1] / payload[0]:.1f} %"
            cells = [count, *kbps, saved, f"{pesq:.2f}", f"{stoi:.3f}", *encode, *decode]
            click.echo("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
