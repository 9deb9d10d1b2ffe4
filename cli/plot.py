"""`codec plot`: a picture of what the codec makes of a recording."""

from __future__ import annotations

from pathlib import Path

import click

from .options import (
    device_option,
    model_option,
    num_codebooks_option,
    overwrite_option,
    resolve_device,
    threads_option,
    use_threads,
)

FORMATS = (".png", ".svg", ".pdf")


@click.command()
@click.argument("source", metavar="FILE|FILE.tok", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="PICTURE",
    help="The picture; its suffix is the format: .png, .svg or .pdf. Default: FILE.png, in the "
    "current folder.",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="AUDIO",
    help="The recording that FILE.tok was made of: adds its spectrogram and the error.",
)
@click.option("--start", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="From.")
@click.option(
    "--end", type=click.FloatRange(min=0), metavar="SECONDS", help="To. Default: the end."
)
@num_codebooks_option
@model_option
@overwrite_option
@device_option
@threads_option()
def command(
    source: Path,
    out: Path | None,
    reference: Path | None,
    start: float,
    end: float | None,
    num_codebooks: int | None,
    model: str,
    overwrite: bool,
    device: str,
    threads: int | None,
) -> None:
    """Draw what the codec makes of a recording.

    Waveform; spectrograms of the reference and the reconstruction; the codes as a map, a row for
    each codebook and a column for each frame, coloured by the entry's number; bits per frame, with
    fixed and with context coding; and the log-mel error over time. FILE is audio, which is encoded
    and decoded, or a token file. Of several channels, the first is drawn. Needs the extra `eval`.

    \b
    codec plot speech.wav                              speech.png, in the current folder
    codec plot speech.wav -n 3 -o three.svg            of three codebooks
    codec plot speech.tok -o tokens.png                what tokens alone say
    codec plot speech.tok --reference speech.wav -o both.png
    codec plot lecture.flac --start 60 --end 70        ten seconds of it
    """
    from audiocodec.errors import CodecError
    from audiocodec.paths import check_distinct, replacing

    out = out or Path(f"{source.stem}.png")
    if out.suffix.lower() not in FORMATS:
        raise CodecError(f"--out {out}: ends with none of {' '.join(FORMATS)}; name a picture")
    for path in (source, reference):
        if path is not None:
            check_distinct(path, out)
    if out.exists() and not overwrite:
        raise CodecError(f"{out}: is there already; --overwrite replaces it")
    from audiocodec.extras import require_extra

    for package in ("matplotlib", "librosa"):
        require_extra(package, "eval", "codec plot")
    from audiocodec.checkpoint import load_codec
    from audiocodec.evaluation.inspection import plot_file

    use_threads(threads)
    codec = load_codec(model, resolve_device(device))
    figure = plot_file(source, codec, num_codebooks, reference=reference, start=start, end=end)
    with replacing(out) as temporary:
        figure.savefig(temporary, format=out.suffix[1:].lower())
    click.echo(f"{source} -> {out}")
