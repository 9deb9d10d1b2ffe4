"""`codec listen`: a listening test of decoded audio, as a page or for webMUSHRA."""

from __future__ import annotations

from pathlib import Path

import click

from .options import overwrite_option


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="PAGE.html",
    help="The page. Default: listen.html, in the current folder.",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder of the references. Default: DIR/reference, or DIR/reference_RATE.",
)
@click.option(
    "--system",
    "systems",
    multiple=True,
    metavar="NAME",
    help="A system's folder in DIR; repeat it. Default: all.",
)
@click.option(
    "--against",
    metavar="NAME",
    help="Compare each system with this one, instead of the reference.",
)
@click.option(
    "--trials",
    type=click.IntRange(1, 500),
    metavar="N",
    help="Trials of each comparison. Default: 16.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1, max=60),
    metavar="S",
    help="How much of each file is heard, from its beginning. Default: 10.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    help="Of the random order. Default: each listener's browser draws one; it is in the CSV.",
)
@click.option("--title", default="Listening test", show_default=True, help="Listeners see it.")
@click.option(
    "--mushra",
    type=click.Path(path_type=Path),
    metavar="CONFIG.yaml",
    help="Write a configuration of webMUSHRA instead of a page.",
)
@overwrite_option
def command(
    folder: Path,
    out: Path | None,
    reference: Path | None,
    systems: tuple[str, ...],
    against: str | None,
    trials: int | None,
    seconds: float | None,
    seed: int | None,
    title: str,
    mushra: Path | None,
    overwrite: bool,
) -> None:
    """Make a blind listening test of decoded audio: one page that runs from a file.

    DIR holds a folder for each system, with files of the same names, and the folder reference:
    DIR/opus/1.wav, DIR/codec2/1.wav, DIR/reference/1.wav. Folders that codec evaluate --save wrote
    have a system for each number of codebooks, DIR/MODEL/N/1.wav.

    The page asks in each trial whether X is A or B (ABX), where A and B are a system and the
    reference, or two systems. At the end it says who was told apart, with the p-value of the
    binomial test, and saves the answers as CSV. Nothing is sent anywhere. Needs the extra `eval`.

    With --mushra: a configuration of webMUSHRA, in which listeners rate all systems. Call the
    command in webMUSHRA's own folder, which its paths are relative to.

    \b
    codec evaluate recordings/ -n 3,6 --save decoded
    codec listen decoded/ --reference recordings/ -o page.html
    codec listen decoded/ --system speech_16khz/6 --against speech_16khz/3
    codec listen configs/decoded/ --mushra configs/speech.yaml      in webMUSHRA's folder
    """
    if mushra and any(value is not None for value in (out, trials, seconds, seed)):
        raise click.UsageError("--out, --trials, --seconds and --seed are not for --mushra")
    from audiocodec.errors import CodecError
    from audiocodec.evaluation.listening import REFERENCE, find_systems

    target = mushra or out or Path("listen.html")
    if target.suffix.lower() not in ((".yaml", ".yml") if mushra else (".html", ".htm")):
        kind = "--mushra X.yaml" if mushra else "--out X.html"
        raise CodecError(f"{target}: has another suffix; name it as in {kind}")
    if target.exists() and not overwrite:
        raise CodecError(f"{target}: is there already; --overwrite replaces it")
    if reference is not None and against is not None:
        raise CodecError("--reference: not heard with --against; leave out one of them")
    found = find_systems(folder, reference=reference, systems=systems, against=against or REFERENCE)
    if mushra:
        from audiocodec.evaluation.mushra import write_mushra

        write_mushra(target, found, title)
    else:
        from audiocodec.evaluation.abx import write_abx

        write_abx(
            target,
            found,
            trials=trials or 16,
            seconds=seconds or 10.0,
            seed=seed,
            title=title,
            progress=True,
        )
    names = ", ".join(found.others)
    click.echo(f"{target}: {names} against {found.base}, files: {len(found.clips)}")
