"""`codec web`: the codec as a web page."""

from __future__ import annotations

from pathlib import Path

import click

from .options import model_option, remark, threads_option, use_threads


@click.command()
@click.option(
    "-o",
    "--out",
    "folder",
    default="site",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write. An earlier site in it is replaced.",
)
@model_option
@click.option(
    "--runtime",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder of the npm package onnxruntime-web. Default: web/node_modules of a clone, the "
    "user's cache, or npm fetches it once.",
)
@click.option("--no-serve", is_flag=True, help="Write the folder only.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Of localhost. Default: 8000, or another one if that is taken.",
)
@threads_option()
def command(
    folder: Path,
    model: str,
    runtime: Path | None,
    no_serve: bool,
    port: int | None,
    threads: int | None,
) -> None:
    """Write the codec as a web page, and serve it on this machine.

    In the page a person opens a recording or records one, hears it at several bitrates, switches
    between them and the original at the same place, sees spectrograms and the codes, and saves and
    opens .tok files. The browser computes everything; nothing is uploaded, and the page works
    offline once it was opened.

    DIR gets plain files, 80 MB with the bundled model. Any web server can serve them (by https, or
    browsers give no microphone). Needs the extra `onnx` (pip install 'audiocodec[onnx]'), and npm
    once, for ONNX Runtime for browsers (14 MB).

    \b
    codec web                                        then open the address that it prints
    codec web --model runs/mine/model --port 8080
    codec web --no-serve --out public
    """
    if no_serve and port is not None:
        raise click.UsageError("--port is for serving; leave out one of --port and --no-serve")
    from audiocodec.checkpoint import load_codec
    from audiocodec.web.server import address, open_server
    from audiocodec.web.site import write_site

    use_threads(threads)
    remark(f"{folder}: writing the page and the graphs of {model} ...")
    if no_serve:
        site = write_site(load_codec(model), folder, runtime)
        click.echo(
            f"{site.folder}: {site.num_bytes / 1e6:.1f} MB; {site.equal_codes:.3%} of the codes"
        )
        return
    with open_server(folder, port) as server:
        site = write_site(load_codec(model), folder, runtime)
        click.echo(f"{address(server)}: {site.folder}, {site.num_bytes / 1e6:.1f} MB; Ctrl-C ends")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("")
