"""Does a model do better on the speakers it was trained on than on others of the same corpora?

    python benchmarks/generalisation.py clips TRAIN VALIDATION --out CLIPS
    for part in training validation original; do
        codec evaluate CLIPS/$part -n 3,12 --mos --baseline opus:9k --csv CLIPS/$part.csv
    done
    python benchmarks/generalisation.py gap CLIPS

Each of TRAIN and VALIDATION is a folder of speech with an `index.csv` that has the columns `file`,
`source` (the corpus) and `speaker`. The paths in it begin at the folder that holds TRAIN, or in
TRAIN. Only corpora that both have are compared. Every speaker's files are joined and cut into clips
of equal length, evenly spaced. If the training speech is coded by Opus and the validation speech
is not, `opusenc` codes the validation speech at the same bitrate before it is cut; the same clips
without that are in `original`.

`gap` prints the mean score of training minus validation speakers. Scores are averaged for each
speaker first; the 95 % confidence interval is Welch's, over speakers, corpus by corpus, and the
corpora are weighted by their numbers of validation speakers. Speakers are of different difficulty.
So the gap of a codec that was never trained, Opus, is printed beside it, and the gap of the
differences between both codecs on equal clips, from which most of the difficulty is gone.
"""

from __future__ import annotations

import csv
import math
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import soundfile
from numpy.typing import NDArray

from audiocodec import CodecError, load_audio

RATE = 16_000
PARTS = ("training", "validation", "original")
Speakers = dict[tuple[str, str], list[Path]]


@click.group()
def main() -> None:
    """Compare a model's scores on training speakers with those on others of the same corpora."""


def speakers_of(folder: Path) -> Speakers:
    """The files of each (corpus, speaker) of an ``index.csv``, sorted."""
    files: Speakers = defaultdict(list)
    try:
        with (folder / "index.csv").open(newline="", encoding="utf-8") as index:
            for row in csv.DictReader(index):
                path = folder.parent / row["file"]
                path = path if path.is_file() else folder / row["file"]
                files[row["source"], row["speaker"]].append(path)
    except (OSError, KeyError) as error:
        raise CodecError(f"{folder}/index.csv: needs file, source and speaker ({error})") from None
    return {key: sorted(paths) for key, paths in sorted(files.items())}


def chosen(speakers: Speakers, corpora: Mapping[str, int]) -> Iterator[tuple[str, str, list[Path]]]:
    """Evenly spaced speakers, so many of each corpus."""
    for corpus, count in corpora.items():
        mine = [key for key in speakers if key[0] == corpus]
        picks = np.linspace(0, len(mine) - 1, min(count, len(mine))).round().astype(int)
        for index in dict.fromkeys(picks.tolist()):
            yield *mine[index], speakers[mine[index]]


def joined(paths: Sequence[Path], most: float = 120.0) -> NDArray[np.float32]:
    """The audio of files, one after the other, ``[T]`` at 16 kHz; at most so many seconds."""
    parts: list[NDArray[np.float32]] = []
    for path in paths:
        parts.append(load_audio(path, RATE)[0].mean(dim=0).numpy())
        if sum(map(len, parts)) > most * RATE:
            break
    return np.concatenate(parts)[: round(most * RATE)]


def through_opus(audio: NDArray[np.float32], kbps: float) -> NDArray[np.float32]:
    """Coded and decoded by Opus; equal in length."""
    with tempfile.TemporaryDirectory() as folder:
        wav, opus = Path(folder) / "audio.wav", Path(folder) / "audio.opus"
        soundfile.write(wav, audio, RATE)
        subprocess.run(["opusenc", "--quiet", "--bitrate", str(kbps), wav, opus], check=True)
        return load_audio(opus, RATE)[0][0].numpy()[: len(audio)]


def write_clips(
    folder: Path, speaker: str, audio: NDArray[np.float32], count: int, seconds: float
) -> None:
    """``count`` clips, evenly spaced, as FLAC; fewer if the audio is shorter than that."""
    length = round(seconds * RATE)
    count = min(count, len(audio) // length)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        start = round((number + 0.5) * len(audio) / count - length / 2)
        clip = audio[start : start + length]
        soundfile.write(folder / f"{speaker}-{number}.flac", clip, RATE)


@main.command()
@click.argument("training", type=click.Path(exists=True, path_type=Path))
@click.argument("validation", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the clips.")
@click.option("--seconds", default=4.0, show_default=True, help="Length of a clip.")
@click.option("--per-corpus", default=40, show_default=True, help="About so many clips of each.")
@click.option("--opus", "kbps", default=36.0, show_default=True, help="kbps of TRAIN; 0: lossless.")
def clips(
    training: Path, validation: Path, out: Path, seconds: float, per_corpus: int, kbps: float
) -> None:
    """Cut clips of equal length of the speakers of two folders."""
    ours, theirs = speakers_of(training), speakers_of(validation)
    shared = sorted({key[0] for key in ours} & {key[0] for key in theirs})
    if not shared:
        raise CodecError(f"{training} and {validation}: have no corpus (`source`) in common")
    for speakers, part in ((ours, "training"), (theirs, "validation")):
        # Twenty speakers of each corpus, or all if there are fewer.
        for corpus, speaker, paths in chosen(speakers, dict.fromkeys(shared, 20)):
            mine = sum(key[0] == corpus for key in speakers)
            count = math.ceil(per_corpus / min(20, mine))
            audio = joined(paths)
            if part == "training" or not kbps:
                write_clips(out / part / corpus, speaker, audio, count, seconds)
                continue
            write_clips(out / "original" / corpus, speaker, audio, count, seconds)
            coded = through_opus(audio, kbps)
            write_clips(out / "validation" / corpus, speaker, coded, count, seconds)


Scores = dict[tuple[str, str], dict[str, dict[str, list[float]]]]
"""Of a system and score: for each corpus and speaker the scores of the clips."""


def read_scores(path: Path, names: Sequence[str]) -> Scores:
    """Of each model with n codebooks, of the baseline, and of their differences clip by clip."""
    clips: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            count = row["num_codebooks"]
            system = f"{row['model']} {count}" if count not in ("", "0") else "baseline"
            clips[row["file"]][system] = {name: float(row[name]) for name in names if row[name]}
    scores: Scores = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for file, systems in clips.items():
        corpus, speaker = Path(file).parent.name, Path(file).stem.rsplit("-", 1)[0]
        other = systems.get("baseline", {})
        for system, found in systems.items():
            for name, score in found.items():
                scores[system, name][corpus][speaker].append(score)
                if system != "baseline" and name in other:
                    less = f"{system} - baseline"
                    scores[less, name][corpus][speaker].append(score - other[name])
    return scores


def difference(
    first: dict[str, dict[str, list[float]]], second: dict[str, dict[str, list[float]]]
) -> tuple[float, float, float, float]:
    """Means of both, first minus second, and half its 95 % interval (normal)."""
    total = sum(len(second[corpus]) for corpus in second if corpus in first)
    means, gap, variance = [0.0, 0.0], 0.0, 0.0
    for corpus, speakers in second.items():
        if corpus not in first:
            continue
        weight = len(speakers) / total
        values = [[np.mean(x) for x in part.values()] for part in (first[corpus], speakers)]
        for index, each in enumerate(values):
            means[index] += weight * float(np.mean(each))
        gap += weight * float(np.mean(values[0]) - np.mean(values[1]))
        variance += weight**2 * sum(float(np.var(x, ddof=1)) / len(x) for x in values)
    return *means, gap, 1.96 * math.sqrt(variance)


@main.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--scores", default="pesq_wb,stoi,distill_mos", show_default=True, help="Columns.")
def gap(folder: Path, scores: str) -> None:
    """Print training minus validation, and what Opus-coded references change."""
    read = {
        part: read_scores(folder / f"{part}.csv", scores.split(","))
        for part in PARTS
        if (folder / f"{part}.csv").is_file()
    }
    for second in list(read)[1:]:
        first = "training" if second == "validation" else "validation"
        print(f"\n| system | score | {first} | {second} | {first} less {second} |")
        print("| -- | -- | -- | -- | -- |")
        for system, name in read[first]:
            one, two, less, half = difference(read[first][system, name], read[second][system, name])
            print(f"| {system} | {name} | {one:.3f} | {two:.3f} | {less:+.3f} ± {half:.3f} |")


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
