"""`codec info`: what token files, models and audio files hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .facts import (
    Facts,
    audio_facts,
    audio_file_lines,
    audio_sum_lines,
    bundled_model_lines,
    codebook_lines,
    model_facts,
    model_lines,
    token_facts,
    token_lines,
    token_sum_facts,
    token_sum_lines,
)
from .options import json_option
from .report import cut_short

if TYPE_CHECKING:
    from audiocodec.tokens.stats import TokenStats


@click.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR|MODEL]...", type=click.Path())
@json_option(
    "of one file or model, those of its description; of several, files, token_files (a summary "
    "for each model), audio_files (a summary for each sample rate), models and failures; without "
    "an argument, models."
)
def command(paths: tuple[str, ...], as_json: bool) -> None:
    """Say what token files, models or audio files hold.

    One .tok file, model or audio file is described in full. Several files, or a folder with all in
    it, are summed up: number, hours, bytes and mean bitrate, and for each model how much of its
    codebooks the codes use. Without an argument, the bundled models are listed.

    Of a token file every block is checked. A file that is damaged or cut short is named, and the
    exit code is 1; one that was cut short counts up to the cut. MODEL is a bundled model's name or
    a model's folder.

    used: the share of a codebook's entries that occur. perplexity: the number of entries that, if
    all were equally frequent, would carry as much. entropy: the bits that a code carries; as many
    as are stored if all entries are equally frequent.

    \b
    codec info                         the bundled models
    codec info speech.tok              one file, and its use of the codebooks
    codec info tokens/                 hours, bytes, kbit/s and codebook usage of a corpus
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
        report = ONE[kind](paths[0])
    else:
        report = many(paths, as_json)
    if as_json:
        click.echo(json.dumps(report.facts, indent=2))
    else:
        for line in report.lines:
            click.echo(line)
    for message in report.messages:
        click.echo(message, err=True)
    if report.messages:
        click.get_current_context().exit(1)


@dataclass
class Report:
    """What goes to stdout, as JSON or as lines, and the messages for stderr."""

    facts: Facts
    lines: list[str]
    messages: list[str] = field(default_factory=list)


def kind_of(given: str) -> str:
    """`tokens`, `audio`, `folder` or `model`."""
    path = Path(given)
    if path.is_file():
        return kind_of_file(path)
    if path.suffix == ".tok" and not path.is_dir():
        return "tokens"
    from audiocodec.bundled import bundled_models
    from audiocodec.checkpoint import CONFIG_NAME

    if path.is_dir() and given not in bundled_models() and not (path / CONFIG_NAME).is_file():
        return "folder"
    return "model"


def kind_of_file(path: Path) -> str:
    from audiocodec.tokens.header import MAGIC, SUFFIX

    if path.suffix.lower() == SUFFIX:
        return "tokens"
    try:
        with path.open("rb") as file:
            return "tokens" if file.read(len(MAGIC)) == MAGIC else "audio"
    except OSError:
        return "audio"  # whose reader says what is wrong


def one_token_file(given: str) -> Report:
    """A token file's header, sizes and codebooks. CodecError if it is damaged."""
    from audiocodec.progress import progress_bar
    from audiocodec.tokens.file import TokenFile
    from audiocodec.tokens.stats import TokenStats

    with TokenFile(given) as tokens:
        stats = TokenStats.like(tokens)
        total = tokens.num_frames / tokens.header.frame_rate
        with progress_bar(total, "s of audio") as bar:
            stats.add(tokens, bar.update)
        facts = token_facts(tokens)
    facts["codebooks"] = stats.codebooks()
    lines = [*token_lines(facts), *codebook_lines(facts["codebooks"])]
    return Report(facts, lines, [cut_token_file(given)] if facts["truncated"] else [])


def cut_token_file(path: object) -> str:
    return f"{cut_short(path)}; the rest of it is missing"


def one_audio_file(given: str) -> Report:
    """What an audio file's header says, and its size. CodecError if it is none."""
    facts = audio_facts(Path(given))
    return Report(facts, audio_file_lines(facts))


def one_model(given: str) -> Report:
    facts = model_facts(given)
    return Report(facts, model_lines(facts))


ONE: dict[str, Callable[[str], Report]] = {
    "tokens": one_token_file,
    "audio": one_audio_file,
    "model": one_model,
}


@dataclass
class Found:
    """What several paths hold: sums of each kind, messages, and, if asked for, all files' facts."""

    each_file: bool
    files: list[Facts] = field(default_factory=list)
    stats: dict[tuple[object, ...], TokenStats] = field(default_factory=dict)
    audio: dict[tuple[int, int], Facts] = field(default_factory=dict)
    models: list[Facts] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add_tokens(self, path: Path) -> None:
        from audiocodec.tokens.file import TokenFile
        from audiocodec.tokens.stats import TokenStats

        with TokenFile(path) as tokens:
            header = tokens.header
            key = (header.model, header.fingerprint, header.sample_rate, header.hop_length)
            stats = self.stats.get(key) or TokenStats.like(tokens)
            stats.add(tokens)
            self.stats[key] = stats
            if self.each_file:
                self.files.append(token_facts(tokens))
            if tokens.truncated:
                self.cut.append(cut_token_file(path))

    def add_audio(self, path: Path) -> None:
        facts = audio_facts(path)
        if self.each_file:
            self.files.append(facts)
        key = (facts["sample_rate"], facts["channels"])
        zero = {"sample_rate": key[0], "channels": key[1], "files": 0, "seconds": 0.0}
        total = self.audio.setdefault(key, {**zero, "file_bytes": 0, "file_bitrate": None})
        total["files"] += 1
        total["seconds"] += facts["seconds"]
        total["file_bytes"] += facts["file_bytes"]
        if total["seconds"]:
            total["file_bitrate"] = 8 * total["file_bytes"] / total["seconds"]


def many(paths: Sequence[str], each_file: bool) -> Report:
    """Several files, folders or models, summed up. What fails is named and the rest is done.

    The report has facts on each file only if asked for: the rest takes little memory for any number
    of files.
    """
    from audiocodec.errors import CodecError
    from audiocodec.progress import progress_bar

    found = Found(each_file)
    todo: dict[Path, str] = {}
    for given in paths:
        kind = kind_of(given)
        try:
            if kind == "model":
                found.models.append(model_facts(given))
            elif kind == "folder":
                todo |= {path: kind_of_file(path) for path in files_in(Path(given), found)}
            else:
                todo[Path(given)] = kind
        except CodecError as error:
            found.failures.append(str(error))
    if not (todo or found.models) and len(found.failures) == 1:
        raise CodecError(found.failures[0])
    with progress_bar(len(todo), "files") as bar:
        for path, kind in todo.items():
            try:
                (found.add_tokens if kind == "tokens" else found.add_audio)(path)
            except CodecError as error:
                found.failures.append(str(error))
            bar.update(1)
    return report_of(found)


def files_in(folder: Path, found: Found) -> list[Path]:
    """The token files and audio files in a folder. CodecError if there are none.

    A folder in it that cannot be listed becomes a failure.
    """
    from audiocodec.audio import READ_SUFFIXES
    from audiocodec.paths import find_inputs
    from audiocodec.tokens.header import SUFFIX

    none = f"no {SUFFIX} files, audio files or model in this folder"
    if (folder / "model" / "config.json").is_file():
        none = f"is the folder of a run; its model is {folder / 'model'}"
    suffixes = {SUFFIX, *READ_SUFFIXES}
    return find_inputs(folder, suffixes, none, lambda _, line: found.failures.append(line))


def report_of(found: Found) -> Report:
    sums = [token_sum_facts(stats) for stats in found.stats.values()]
    audio = list(found.audio.values())
    facts = {
        "files": found.files,
        "token_files": sums,
        "audio_files": audio,
        "models": found.models,
        "failures": found.failures,
    }
    parts = [model_lines(each) for each in found.models]
    parts += [token_sum_lines(each) for each in sums] + [audio_sum_lines(each) for each in audio]
    lines = [line for part in parts for line in ["", *part]][1:]
    return Report(facts, lines, found.cut + [f"error: {failure}" for failure in found.failures])


def bundled_facts() -> list[Facts]:
    from audiocodec.bundled import bundled_models

    return [model_facts(name) for name in bundled_models()]
