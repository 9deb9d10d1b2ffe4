"""A server of files for this machine alone, with the types that browsers need."""

from __future__ import annotations

import errno
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from audiocodec.errors import CodecError

HOST = "127.0.0.1"
PORT = 8000
"""Taken where no port is asked for, if it is free."""


class Handler(SimpleHTTPRequestHandler):
    """Files and their types; quiet."""

    # The types that Python guesses depend on the machine: browsers refuse modules of other types.
    extensions_map: ClassVar[dict[str, str]] = {  # type: ignore[misc]  # typeshed has no ClassVar
        "": "application/octet-stream",
        ".css": "text/css",
        ".flac": "audio/flac",
        ".html": "text/html",
        ".js": "text/javascript",
        ".json": "application/json",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # asks each time whether a file has changed
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def open_server(folder: Path, port: int | None = None) -> Server:
    """A server of ``folder`` that listens; ``serve_forever()`` answers.

    Args:
        port: ``None`` for 8000, or another free one if that is taken.

    Raises:
        CodecError: ``port`` is taken or not allowed.
    """
    handler = partial(Handler, directory=str(folder))
    for number in (port,) if port is not None else (PORT, 0):
        try:
            return Server((HOST, number), handler)
        except OSError as error:
            if port is None and number and error.errno == errno.EADDRINUSE:
                continue
            raise CodecError(
                f"--port {number}: cannot be used ({error.strerror}); name another, or none"
            ) from None
    raise AssertionError("unreachable")


class Server(ThreadingHTTPServer):
    """Requests that a browser has given up are no error."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing."""


def address(server: Server) -> str:
    """What to open in a browser. Browsers trust this name, as needed for the microphone."""
    return f"http://localhost:{server.server_address[1]}/"
