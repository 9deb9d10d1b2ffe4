"""Train a model like the bundled `speech_16khz`, command by command.

    python tools/make_speech_16khz.py --list                               print the commands
    python tools/make_speech_16khz.py TRAIN --out runs/new --device cuda   run them
    python tools/make_speech_16khz.py --smoke --out runs/smoke             try them in seconds

The bundled model was trained from 2026-11-23 to 2026-11-28 while its losses, discriminators and
schedule were developed, so its weights cannot be made again bit for bit. The model card
(audiocodec/models/speech_16khz/README.md) lists what was run; docs/log.md has the experiments. The
commands here are the same phases, with the recipes as they are now:

1. A smaller network on one or two CPU cores, without and then with discriminators, and the average
   of both. Historically five such rounds, 65 hours of audio; here one, 31 hours.
2. The network made deeper, and trained on a GPU without and then with discriminators: 269 hours of
   audio, 14 minutes on an NVIDIA H100. Steps, rates and initialisation steps are those of the
   bundled model.
3. The average of both results, with codebooks initialised again.
4. The decoder alone learns to leave out spectral lines: 1600 steps on 24 minutes of speech.
5. The context model, trained on the tokens of all speech: an hour of one core.

The bundled model got its high-pass and codebooks 13 to 16 after phase 3, without training
(`tools/add_highpass.py`; `tools/initialise_codebooks.py --keep 12 --num-codebooks 16`). The recipes
have both from the start, so they are no steps here. One thing is not repeated: the bundled model's
last layer was scaled by 0.4 dB, because its output was slightly too quiet.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from audiocodec import CodecError
from audiocodec.bundled import CLIPS

SMALL = "'codec.seanet.residual_units=[1,2,2,3]'"
GPU = "schedule.batch_size=32 --set data.segment_seconds=1.44"
COMMANDS = f"""
codec train speech_16khz
    --out OUT/small --set data.root=SPEECH --set {SMALL}
codec train speech_16khz_adversarial
    --out OUT/small_adversarial --set data.root=SPEECH --set {SMALL} --set init_from=OUT/small/model
python tools/average.py OUT/small/model OUT/small_adversarial/model
    --share 0.55 --out OUT/small_average/model
python tools/initialise_codebooks.py OUT/small_average/model SPEECH
    --frames 400000 --out OUT/small_initialised/model
python tools/grow.py OUT/small_initialised/model
    --set residual_units=[1,3,3,6] --out OUT/deepened/model

codec train speech_16khz
    --out OUT/spectral --set data.root=SPEECH --set init_from=OUT/deepened/model --set {GPU}
    --set schedule.steps=13540 --set optimizer.final_learning_rate=1e-4
    --set 'schedule.initialisation_steps=[700,3290,6700,10120]'
    --set schedule.initialisation_frames=200000
codec train speech_16khz_adversarial
    --out OUT/adversarial --set data.root=SPEECH --set init_from=OUT/spectral/model --set {GPU}
    --set schedule.steps=7530 --set discriminators.per_step=null
    --set optimizer.learning_rate=3e-4 --set optimizer.final_learning_rate=1e-5
    --set 'schedule.initialisation_steps=[1000,2920,4830]'
    --set schedule.initialisation_frames=200000

python tools/average.py OUT/adversarial/model OUT/spectral/model --share 0.3 --out OUT/average/model
python tools/initialise_codebooks.py OUT/average/model SPEECH
    --frames 800000 --gain-db -19 13 --out OUT/initialised/model
python tools/limit_lines.py OUT/initialised/model SPEECH
    --minutes 24 --steps 1600 --every 1600 --rate 5e-5 --out OUT/speech_16khz
codec train-context OUT/speech_16khz
    --data SPEECH --minutes 58 --run OUT/context --out OUT/speech_16khz
    --hidden 240,208,192,176,160,144,136,128,120,112,104,96,96,88
codec verify --record --model OUT/speech_16khz
"""
SMOKE_SETTINGS = """
    --set codec.seanet.channels=[4,8,12,16] --set codec.seanet.latent_dim=16
    --set codec.quantizer.num_codebooks=2 --set codec.quantizer.dims=[8,4]
    --set codec.quantizer.codebook.size=64 --set schedule.codebooks=[1,2]
    --set schedule.steps=2 --set schedule.initialisation_steps=[1]
    --set schedule.initialisation_frames=100 --set schedule.batch_size=1
    --set data.segment_seconds=0.64
"""
SMOKE_VALUES = {"--frames": "200", "--minutes": "0.02", "--steps": "2", "--every": "2"}
SMOKE_DISCRIMINATORS = """
    --set discriminators.stft_windows=[256] --set discriminators.periods=[3]
    --set discriminators.stft_channels=2 --set discriminators.period_channels=[2,4]
    --set discriminators.per_step=null
"""


def commands(speech: str, out: str, device: str, smoke: bool) -> Iterator[list[str]]:
    """The words of each command, in order. ``smoke`` makes networks, steps and frames few."""
    text = COMMANDS.strip().replace("\n    ", " ")
    for line in filter(None, text.splitlines()):
        words = [word.replace("SPEECH", speech).replace("OUT", out) for word in shlex.split(line)]
        if smoke and words[1] == "train":
            words += shlex.split(SMOKE_SETTINGS)
            words += shlex.split(SMOKE_DISCRIMINATORS) if "adversarial" in words[2] else []
        if words[0] == "codec" and words[1] != "train-context":  # which is for CPUs
            words += ["--device", device]
        for option in SMOKE_VALUES.keys() & words if smoke else ():
            words[words.index(option) + 1] = SMOKE_VALUES[option]
        yield words


def run(words: list[str]) -> None:
    """Run one of :func:`commands` in this process; skip or resume what an earlier call has begun.

    Raises:
        CodecError: the command failed, or training was stopped before its last step.
    """
    out = Path(words[words.index("--out") + 1]) if "--out" in words else None
    if words[1] == "train" and out is not None and (out / "state.pt").is_file():
        words = ["codec", "train", "--resume", str(out), *words[-2:]]
    if words[0] == "python":
        if out is not None and not (out / "fingerprint.txt").is_file():
            importlib.import_module(Path(words[1]).stem).main.main(words[2:], standalone_mode=False)
        return
    if words[1] == "train-context" and out is not None:
        if (out / "context.safetensors").is_file():
            return
        if (Path(words[words.index("--run") + 1]) / "context.pt").is_file():
            words = [*words, "--resume"]
    codec = importlib.import_module("audiocodec_cli.main").codec
    with contextlib.redirect_stdout(io.StringIO()) as output:
        codec.main([*words[1:], "--json"], standalone_mode=False)
    if not json.loads(output.getvalue()).get("finished", True):
        raise CodecError(f"{out}: training was stopped; the same command goes on with it")


@click.command()
@click.argument("speech", type=click.Path(exists=True), required=False)
@click.option("--out", default="runs/speech", show_default=True, help="Folder of all phases.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--list", "only_list", is_flag=True, help="Print the commands and run nothing.")
@click.option(
    "--smoke",
    is_flag=True,
    help="Run every command with a tiny network and two steps, on the bundled clips.",
)
def main(speech: str | None, out: str, device: str, only_list: bool, smoke: bool) -> None:
    """Train a model like the bundled one on the recordings in the folder SPEECH.

    The finished model is OUT/speech_16khz. Take some hours of speech of many speakers (the bundled
    model had 12.8 hours of 395 speakers) and a GPU: on two CPU cores all phases take about 40
    hours. After an interruption, run the same command again: finished phases are skipped.

    \b
    python tools/make_speech_16khz.py --list
    python tools/make_speech_16khz.py TRAIN --out runs/new --device cuda
    """
    if speech is None and not (smoke or only_list):
        raise click.UsageError("name the folder of your recordings, or try --smoke")
    speech = speech or (str(CLIPS) if smoke else "SPEECH")
    for words in commands(speech, out, device, smoke):
        click.echo(f"\n$ {shlex.join(words)}")
        if not only_list:
            run(words)


if __name__ == "__main__":
    try:
        main()
    except CodecError as error:
        raise SystemExit(f"error: {error}") from None
