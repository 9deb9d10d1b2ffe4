"""`codec cat`: token files joined end to end, without touching audio."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from .options import json_option, model_option, overwrite_option, quiet
from .report import cut_short


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="IN...", type=click.Path())
@click.option(
    "-o", "--out", required=True, metavar="OUT", type=click.Path(), help="The .tok file to write."
)
@model_option
@overwrite_option
@json_option(
    "target, parts (source, start, seconds, truncated), seconds, num_samples, added, file_bytes, "
    "..."
)
def command(paths: tuple[str, ...], out: str, model: str, overwrite: bool, as_json: bool) -> None:
    """Join token files end to end.

    IN is a .tok file, or a folder of them, which are taken in the order of their names. All must be
    of one model, with equal codebooks, channels and sample rate; the first that is not is named,
    and nothing is written. OUT has the coding of the first.

    The codes stay the same, so nothing is faded at a join: the decoder goes on from one recording
    to the next as in one. The last frame of each part is kept whole. What its recording did not
    fill, less than a frame (20 ms with the bundled model), is silence that the encoder added, and
    the sum of it is printed. --json says where in OUT each part begins.

    --model is the model that made the codes; it is needed for context coding with a context model
    of your own. A part that was cut short is joined up to the cut, with a warning and exit status
    1.

    \b
    codec cat a.tok b.tok -o both.tok
    codec cat chapters/ -o book.tok
    """
    from audiocodec.batch.names import check_file_name
    from audiocodec.errors import CodecError
    from audiocodec.joining import join_files
    from audiocodec.progress import progress_bar
    from audiocodec.tokens import SUFFIX, TokenFile, find_tokens

    from .info import context_of

    check_file_name(out, [SUFFIX])
    context = context_of(model)
    target = Path(out)
    sources = [
        source
        for path in paths
        for source in find_tokens(path)
        if not (Path(path).is_dir() and source.resolve() == target.resolve())
    ]
    if target.exists() and not overwrite:
        raise CodecError(f"{target}: is there already; --overwrite replaces it")
    total = 0.0
    for source in sources:
        with TokenFile(source, context) as tokens:
            total += tokens.seconds
    with progress_bar(total, "s of audio") as bar:
        joined = join_files(sources, target, context, bar.update)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(joined), default=str, indent=2))
    elif not quiet():
        click.echo(
            f"{len(joined.parts)} files -> {joined.target}: {joined.seconds:.2f} s, "
            f"{joined.num_codebooks} codebooks, {joined.added:.3f} s of it silence at the joins"
        )
    cut = [part for part in joined.parts if part.truncated]
    for part in cut:
        click.echo(
            f"{cut_short(part.source)}; {joined.target} has the {part.seconds:.2f} s before the "
            "cut",
            err=True,
        )
    if cut:
        click.get_current_context().exit(1)
