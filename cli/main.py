"""The group `codec`. Each verb lives in a module of its own, imported only when it is called.

So `codec --help` reads nothing but the table below and answers at once. A verb's module holds a
click command named `command`; its heavy imports stand inside the function, so that
`codec VERB --help` is quick as well.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys

import click

from audiocodec.errors import CodecError

# verb -> (module beside this one, its line in `codec --help`), in the order of the help page
VERBS: dict[str, tuple[str, str]] = {
    "encode": ("encode", "Turn audio files into token files."),
    "decode": ("decode", "Turn token files back into audio."),
    "info": ("info", "Say what a token file or a model holds."),
    "verify": ("verify", "Check that a model is whole and gives the same codes everywhere."),
    "export": ("export", "Write a model as ONNX graphs, for programs without PyTorch."),
    "stream": ("stream", "Hear yourself through the codec, live."),
    "demo": ("demo", "Hear the bundled model on a bundled clip."),
    "evaluate": ("evaluate", "Score a model on a folder of audio."),
    "train": ("train", "Train a codec from a recipe."),
}


class LazyGroup(click.Group):
    """A click group that imports a verb's module when the verb is asked for, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f".{VERBS[cmd_name][0]}", __package__)
        command: click.Command = module.command
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


def print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"codec {version('audiocodec')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the version and leave.",
)
def codec() -> None:
    """A small neural speech codec: audio to tokens and back.

    \b
    codec demo                     hear it
    codec encode in.wav out.tok    audio to tokens
    codec decode out.tok out.wav   tokens to audio
    """


def run(arguments: list[str] | None = None) -> int:
    """Run `codec` with `arguments` (default: the process's own) and return the exit status.

    0 done; 1 a `CodecError` or a file system error, printed as one `error: ...` line; 2 wrong
    usage; 130 interrupted by Ctrl-C; 141 when the reader of our output went away.
    """
    try:
        status = codec.main(args=arguments, prog_name="codec", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except CodecError as error:
        return fail(str(error))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    except OSError as error:
        if error.errno == errno.EPIPE:
            # Python flushes stdout once more at exit: give it somewhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{error.strerror or error}")


def fail(message: str) -> int:
    click.echo(f"error: {message}", err=True)
    return 1


def open_closed_streams() -> None:
    """Python has ``None`` for a standard stream that is closed (``2>&-``): use the null device.

    So no file that is opened later gets its number either. File names that are not UTF-8 are
    printed as they are.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


def let_threads_sleep() -> None:
    """Have threads that wait for others sleep; it must be said before PyTorch is imported.

    By default they spin. Beside a busy process, or on virtual cores that share one, those that
    spin keep the others from working: two threads are then slower than one by up to 20 times.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(os.environ):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def main() -> None:
    """The console script."""
    open_closed_streams()
    let_threads_sleep()
    sys.exit(run())
