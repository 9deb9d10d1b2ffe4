"""A page in headless Chromium, driven through a pipe (the DevTools protocol); no other package."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",  # a microphone that beeps
    "--use-fake-ui-for-media-stream",
    "--remote-debugging-pipe",
]


class Page:
    """``with Page(address, profile) as page: page.run("document.title")``

    Attributes:
        problems: what the console has said, errors and warnings, and exceptions.

    Args:
        profile: an empty folder for the browser's own files.
        core: the number of the one core that the browser may use; ``None`` for all.
    """

    def __init__(
        self,
        address: str,
        profile: Path,
        size: tuple[int, int] = (1100, 900),
        core: int | None = None,
    ) -> None:
        assert CHROMIUM is not None
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        words = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        # The browser reads commands from 3 and writes answers to 4.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        if core is not None:
            script = f"taskset -p -c {core} $$ > /dev/null; {script}"
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *words],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._left = b""
        self._count = 0
        self._session: str | None = None
        self.problems: list[str] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.resize(*size)
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.protocol !== 'about:'")

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *exception: object) -> None:
        self._session = None
        try:
            self.call("Browser.close")
        except (OSError, TimeoutError):
            self._process.kill()
        self._process.wait(30)
        os.close(self._read)
        os.close(self._write)

    def resize(self, width: int, height: int, scale: float = 1, dark: bool = False) -> None:
        """The size of the window, and whether the user prefers dark pages."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def run(self, expression: str, seconds: float = 120) -> Any:
        """The value of JavaScript, awaited."""
        found = self.call(
            "Runtime.evaluate",
            seconds,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            text = details.get("exception", {}).get("description", details["text"])
            raise RuntimeError(f"{expression}: {text}")
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 120) -> Any:
        """Wait until JavaScript is true; its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(expression)):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} after {seconds} s; console: {self.problems}")
            time.sleep(0.05)
        return value

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files in a file input."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        paths = [str(file.resolve()) for file in files]
        self.call("DOM.setFileInputFiles", nodeId=node, files=paths)

    def press(self, key: str) -> None:
        """Press and release a key, by its name: `a`, ` `, `Tab`."""
        text = {"text": key} if len(key) == 1 else {}
        code = key.upper() if key.isalpha() and len(key) == 1 else key
        number = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}.get(key, ord(code[0]))
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=number,
                **(text if kind == "keyDown" else {}),
            )

    def fetch(self, address: str) -> bytes:
        """The bytes behind an expression whose value is an address, such as a link's."""
        program = f"""(async () => {{
            const bytes = new Uint8Array(await (await fetch({address})).arrayBuffer());
            let text = "";
            for (const byte of bytes) text += String.fromCharCode(byte);
            return btoa(text);
        }})()"""
        return base64.b64decode(self.run(program))

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """A PNG of the whole page, or of what is in the window."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def cpu_seconds(self) -> float:
        """CPU time of the processes that show pages, workers included."""
        session, self._session = self._session, None
        processes = self.call("SystemInfo.getProcessInfo")["processInfo"]
        self._session = session
        return sum(each["cpuTime"] for each in processes if each["type"] == "renderer")

    def call(self, method: str, seconds: float = 120, **parameters: Any) -> Any:
        """A command of the DevTools protocol, and its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        end = time.monotonic() + seconds
        while True:
            answer = self._next(end - time.monotonic())
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def _next(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], max(0.0, seconds))
            data = os.read(self._read, 2**16) if ready else b""
            if not data:
                raise TimeoutError("the browser does not answer" if not ready else "it has ended")
            self._left += data
        message, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.consoleAPICalled":
            if parameters["type"] in ("error", "warning", "assert"):
                values = [str(each.get("value", each)) for each in parameters["args"]]
                self.problems.append(" ".join(values))
        elif event.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(parameters["entry"]["text"])
