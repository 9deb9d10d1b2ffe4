"""The group `codec`. Each command lives in a module of its own, imported only when it is called.

So `codec --help` reads nothing but the table below and answers at once. A module holds a click
command named `command`; its heavy imports stand inside the function, so that
`codec COMMAND --help` is quick as well.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from contextlib import suppress

import click

from audiocodec.errors import CodecError

from .options import quiet_option
from .process import end_on_signals, open_closed_streams

# command -> (module beside this one, its line in `codec --help`), in the order of the help page
COMMANDS: dict[str, tuple[str, str]] = {
    "encode": ("encode", "Turn audio files into token files."),
    "decode": ("decode", "Turn token files back into audio."),
    "prepare": ("prepare", "Describe a corpus of audio: a manifest and statistics."),
    "pack": ("pack", "Decode a corpus once, into shards for training."),
    "transcode": ("transcode", "Rewrite token files: fewer codebooks, another coding."),
    "tokenize": ("tokenize", "Turn a corpus into shards of tokens: Parquet, WebDataset, files."),
    "detokenize": ("detokenize", "Turn a tokenised corpus back into audio files."),
    "trim": ("trim", "Cut a part out of token files."),
    "cat": ("cat", "Join token files end to end."),
    "export-codes": ("exportcodes", "Write codes for NumPy, JSON or Parquet."),
    "import-codes": ("importcodes", "Turn codes of other programs into token files."),
    "info": ("info", "Say what token files, models or audio files hold."),
    "verify": ("verify", "Check that a model is undamaged and computes the same codes everywhere."),
    "plot": ("plot", "Draw what the codec makes of a recording."),
    "export": ("export", "Write a model as ONNX graphs, for programs without PyTorch."),
    "web": ("web", "Write the codec as a web page, and serve it."),
    "stream": ("stream", "Run live audio through the codec."),
    "demo": ("demo", "Try the bundled model on a bundled clip."),
    "evaluate": ("evaluate", "Score models on audio files: quality, bitrate and speed."),
    "score": ("score", "Score decoded audio files against their references, of any codec."),
    "probe": ("probe", "Measure what scores do not show: noise, tones, clicks, levels."),
    "compare": ("compare", "Say which of several evaluations differ, and by how much."),
    "listen": ("listen", "Make a blind listening test of decoded audio, as a page."),
    "train": ("train", "Train a codec from a recipe."),
    "train-context": ("traincontext", "Train what makes a model's token files smaller."),
}


class ReaderGone(Exception):
    """The process that read our output has ended."""


class LazyGroup(click.Group):
    """A click group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        command: click.Command = module.command
        if command.name != cmd_name:  # as imported: the function's name
            command.name = cmd_name
            command.short_help = COMMANDS[cmd_name][1]
            quiet_option(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name.lower(), COMMANDS, n=1)
            remedy = f"Did you mean '{near[0]}'?" if near else f"Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command '{name}'. {remedy}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1
            raise ReaderGone from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"codec {version('audiocodec')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the version and exit.",
)
@quiet_option
def codec() -> None:
    """A small neural speech codec: audio to tokens and back.

    \b
    codec demo                     try it on a bundled clip
    codec encode in.wav out.tok    audio to tokens
    codec decode out.tok out.wav   tokens to audio

    codec COMMAND --help has the options of a command, and examples. The exit code is 0 if all was
    done, 1 if anything failed (each failure is a line on stderr) and 2 if the command was used
    wrongly.
    """


def run(arguments: list[str] | None = None) -> int:
    """Run `codec` with `arguments` (default: the process's own) and return the exit status.

    0 done; 1 a `CodecError` or a file system error, printed as one `error: ...` line; 2 wrong
    usage; 130 interrupted by Ctrl-C; 141 when the reader of our output went away.
    """
    try:
        words = sys.argv[1:] if arguments is None else arguments  # a report repeats them
        status = codec.main(args=words, prog_name="codec", standalone_mode=False, obj=tuple(words))
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except CodecError as error:
        return fail(str(error))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        with suppress(OSError):  # the terminal may be gone
            click.echo("interrupted", err=True)
        return 130
    except (ReaderGone, BrokenPipeError):
        # Python flushes stdout once more at exit: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}")


def fail(message: str) -> int:
    with suppress(OSError):
        click.echo(f"error: {message}", err=True)
    return 1


def let_threads_sleep() -> None:
    """Have threads that wait for others sleep; it must be said before PyTorch is imported.

    By default they spin. Beside a busy process, or on virtual cores that share one, those that
    spin keep the others from working: two threads are then slower than one by up to 20 times.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(os.environ):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def main() -> None:
    """The console script. The exit status after SIGTERM is 143, after SIGHUP 129."""
    open_closed_streams()
    let_threads_sleep()
    received = end_on_signals()
    status = run()
    sys.exit(128 + received[0] if received else status)
