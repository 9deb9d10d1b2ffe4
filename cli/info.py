"""`codec info`: describe token files, models and audio files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .corpusfacts import is_corpus, one_corpus
from .facts import (
    Facts,
    Report,
    audio_facts,
    audio_file_lines,
    codebook_lines,
    token_facts,
    token_lines,
)
from .modelfacts import bundled_model_lines, model_facts, model_lines
from .options import json_option
from .summary import Summary, cut_token_file

if TYPE_CHECKING:
    from audiocodec.tokens.context import ContextModel


@click.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR|MODEL]...", type=click.Path())
@click.option(
    "--model",
    metavar="MODEL",
    help="The model whose context model token files were coded with; bundled ones are found.",
)
@json_option(
    "of one file or model, those of its description; of several, files, token_files (a summary "
    "for each model), audio_files (a summary for each sample rate), models and failures; without "
    "an argument, models."
)
def command(paths: tuple[str, ...], model: str | None, as_json: bool) -> None:
    """Describe token files, models or audio files.

    One .tok file, model or audio file is described in full. Several files, or a folder with its
    subfolders, are summed up: number, hours, bytes and mean bitrate, and for each model the usage
    of its codebooks. Without an argument, the bundled models are listed.

    A folder that codec tokenize wrote is described as one corpus, shards and errors included.

    Every block of a token file is checked. A file that is damaged or cut short is named, and the
    exit code is 1. A file that was cut short counts up to the cut. MODEL is a bundled model's name
    or a model's folder.

    coded: the bits that a code takes with context coding, on average.
    used: the share of a codebook's entries that occur. entropy: the information in a code, in
    bits; at most the bits that a code takes in the file. perplexity: 2 to the power of the entropy,
    the number of entries in even use.

    \b
    codec info                         the bundled models
    codec info speech.tok              one file, and its use of the codebooks
    codec info tokens/                 hours, bytes, kbit/s and codebook usage, of token files or
                                       of the shards of codec tokenize
    codec info tokens/ --json | jq '.token_files[0].codebooks[0].usage'
    codec info speech_16khz            a model: sample rate, bitrates, parameters
    codec info in.flac                 sample rate, channels and length
    """
    from audiocodec.errors import CodecError

    if "" in paths:
        raise CodecError("a path is empty; is a variable of your script not set?")
    if not paths:
        models = bundled_facts()
        report = Report(
            {"models": models}, [line for facts in models for line in bundled_model_lines(facts)]
        )
    elif len(paths) == 1 and (kind := kind_of(paths[0])) != "folder":
        report = one_token_file(paths[0], model) if kind == "tokens" else DESCRIBE[kind](paths[0])
    else:
        report = describe_many(paths, model, as_json)
    if as_json:
        click.echo(json.dumps(report.facts, indent=2))
    else:
        for line in report.lines:
            click.echo(line)
    for message in report.messages:
        click.echo(message, err=True)
    if report.messages:
        click.get_current_context().exit(1)


def kind_of(given: str) -> str:
    """The kind of an argument: `tokens`, `audio`, `folder`, `corpus` or `model`."""
    path = Path(given)
    if path.is_file():
        return kind_of_file(path)
    if is_corpus(path):
        return "corpus"
    if path.suffix == ".tok" and not path.is_dir():
        return "tokens"
    from audiocodec.bundled import bundled_models
    from audiocodec.checkpoint import CONFIG_NAME

    if path.is_dir() and given not in bundled_models() and not (path / CONFIG_NAME).is_file():
        return "folder"
    return "model"


def kind_of_file(path: Path) -> str:
    """`tokens` or `audio`."""
    from audiocodec.tokens.header import MAGIC, SUFFIX

    if path.suffix.lower() == SUFFIX:
        return "tokens"
    try:
        with path.open("rb") as file:
            return "tokens" if file.read(len(MAGIC)) == MAGIC else "audio"
    except OSError:
        return "audio"  # the audio reader reports the error


def one_token_file(given: str, model: str | None = None) -> Report:
    """A token file's header, sizes and codebook usage.

    ``model`` names the model whose context model it may be coded with.

    Raises:
        CodecError: the file is damaged.
    """
    from audiocodec.progress import progress_bar
    from audiocodec.tokens import TokenFile
    from audiocodec.tokens.context.bits import bits_by_stage
    from audiocodec.tokens.stats import TokenStats

    with TokenFile(given, context_of(model)) as tokens:
        stats = TokenStats.like(tokens)
        total = tokens.num_frames / tokens.header.frame_rate
        with progress_bar(total, "s of audio") as bar:
            stats.add(tokens, bar.update)
        facts = token_facts(tokens)
        facts["codebooks"] = stats.codebooks()
        if tokens.context and facts["codebooks"]:
            coded = bits_by_stage(tokens, tokens.context)
            for codebook, bits in zip(facts["codebooks"], coded, strict=True):
                codebook["coded_bits"] = bits
    lines = [*token_lines(facts), *codebook_lines(facts["codebooks"])]
    return Report(facts, lines, [cut_token_file(given)] if facts["truncated"] else [])


def one_audio_file(given: str) -> Report:
    """An audio file's sample rate, channels, length and size.

    Raises:
        CodecError: not an audio file.
    """
    facts = audio_facts(Path(given))
    return Report(facts, audio_file_lines(facts))


def one_model(given: str) -> Report:
    """A model's configuration and what follows from it."""
    facts = model_facts(given)
    return Report(facts, model_lines(facts))


DESCRIBE: dict[str, Callable[[str], Report]] = {
    "audio": one_audio_file,
    "corpus": one_corpus,
    "model": one_model,
}


def context_of(model: str | None) -> ContextModel | None:
    """The context model of ``model``; ``None`` without a model or where it has none.

    Raises:
        CodecError: no such model, or a damaged file.
    """
    if model is None:
        return None
    from audiocodec.bundled import MODELS
    from audiocodec.tokens.context import CONTEXT_NAME, ContextModel

    for folder in (MODELS / model, Path(model)):
        if (folder / CONTEXT_NAME).is_file():
            return ContextModel.load(folder)
    from audiocodec.checkpoint import find_model

    find_model(model)
    return None


def describe_many(paths: tuple[str, ...], model: str | None, each_file: bool) -> Report:
    """Several files, folders or models, summed up. Failures are reported, and the rest is done.

    Args:
        model: names the model whose context model token files may be coded with.
        each_file: the report has facts of each file too. Otherwise it needs little memory for any
            number of files.

    Raises:
        CodecError: nothing but one failure.
    """
    from audiocodec.errors import CodecError
    from audiocodec.progress import progress_bar

    summary = Summary(each_file, context_of(model))
    todo: dict[Path, str] = {}
    for given in paths:
        kind = kind_of(given)
        try:
            if kind == "model":
                summary.models.append(model_facts(given))
            elif kind == "corpus":
                raise CodecError(f"{given}: is a tokenised corpus; describe it by itself")
            elif kind == "folder":
                todo |= {path: kind_of_file(path) for path in files_in(Path(given), summary)}
            else:
                todo[Path(given)] = kind
        except CodecError as error:
            summary.failures.append(str(error))
    if not (todo or summary.models) and len(summary.failures) == 1:
        raise CodecError(summary.failures[0])
    with progress_bar(len(todo), "files") as bar:
        for path, kind in todo.items():
            try:
                (summary.add_tokens if kind == "tokens" else summary.add_audio)(path)
            except CodecError as error:
                summary.failures.append(str(error))
            bar.update(1)
    return summary.report()


def files_in(folder: Path, summary: Summary) -> list[Path]:
    """The token files and audio files in a folder. A subfolder that cannot be listed is a failure.

    Raises:
        CodecError: no such files.
    """
    from audiocodec.audio import READ_SUFFIXES
    from audiocodec.paths import find_inputs
    from audiocodec.tokens import SUFFIX

    none = f"no {SUFFIX} files, audio files or model in this folder"
    if (folder / "model" / "config.json").is_file():
        none = f"is the folder of a run; its model is {folder / 'model'}"
    suffixes = {SUFFIX, *READ_SUFFIXES}
    return find_inputs(folder, suffixes, none, lambda _, line: summary.failures.append(line))


def bundled_facts() -> list[Facts]:
    from audiocodec.bundled import bundled_models

    return [model_facts(name) for name in bundled_models()]
