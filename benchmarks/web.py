"""The page of `codec web` in headless Chromium: codes beside Python's, speed on one core, pictures.

    python benchmarks/web.py [--screenshot page.png]

It encodes the bundled clips as 16-bit WAV files. Each version's file must be byte for byte that of
`codec encode`. The speed that the page shows is by the clock; beside it stands the CPU time of the
whole tab from choosing a file until 3 kbps can be heard, with pictures, which a busy machine
changes less. At the end the page is loaded once more without its server.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from pathlib import Path

import soundfile
import torch
from browser import CHROMIUM, Page

from audiocodec import encode_file, find_audio, load_codec
from audiocodec.bundled import CLIPS
from audiocodec.runtime import RuntimeCodec
from audiocodec.web.server import Server, address, open_server
from audiocodec.web.site import write_site


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="speech_16khz")
    parser.add_argument("--core", type=int, default=0, help="the one that the browser may use")
    parser.add_argument("--screenshot", type=Path, help="a PNG of the page with the first clip")
    arguments = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("error: chromium is not installed")
    torch.set_num_threads(1)
    codec = load_codec(arguments.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_site(codec, folder / "site")
        with open_server(folder / "site") as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with Page(address(server), folder / "profile", core=arguments.core) as page:
                page.run("globalThis.at = (id) => document.getElementById(id); 0")
                page.wait("at('status').textContent === 'Ready.'", 300)
                for number, path in enumerate(find_audio(CLIPS)):
                    audio, rate = soundfile.read(path)
                    clip = folder / f"{path.stem}.wav"
                    soundfile.write(clip, audio, rate, subtype="PCM_16")
                    picture = None if number else arguments.screenshot
                    measure(page, codec, clip, len(audio) / rate, picture)
                check_offline(page, server)
                print("console: " + ("; ".join(page.problems) or "nothing"))


def measure(
    page: Page, codec: RuntimeCodec, clip: Path, seconds: float, picture: Path | None
) -> None:
    """Speed and files of one clip, as lines."""
    before = page.cpu_seconds()
    page.choose("#file", clip)
    page.wait(f"at('name').textContent === '{clip.name}' && at('save-wav').href", 300)
    used = page.cpu_seconds() - before
    speed = page.run("at('speed').textContent")
    print(f"{clip.name}, {seconds:.1f} s: {speed}")
    print(f"  CPU time until it is heard: {used:.2f} s, {seconds / used:.1f} x real time")
    page.wait("at('save-context').href && !document.querySelector('.waiting')", 600)
    if picture:
        page.run("at('position').value = 2.6")
        page.run("at('position').dispatchEvent(new Event('input'))")
        page.screenshot(picture)
    choices = page.run("[...document.querySelectorAll('[name=version]')].map((each) => each.value)")
    different = []
    for choice in (int(each) for each in choices if each != "original"):
        page.run(f"at('version-{choice}').click()")
        page.wait(f"at('save-context').href && at('save-wav').download.endsWith('_{choice}.wav')")
        target = clip.with_suffix(".tok")
        encode_file(clip, target, codec, choice)
        if page.fetch("at('save-context').href") != target.read_bytes():
            different.append(choice)
    print(f"  .tok files that differ from Python's: {different or 'none'} of {choices[1:]}")


def check_offline(page: Page, server: Server) -> None:
    """Load the page again when there is no server any more."""
    page.wait("navigator.serviceWorker.ready.then(() => true)", 600)
    server.shutdown()
    server.server_close()
    page.run("document.title = 'before'; setTimeout(() => location.reload()); 0")
    page.wait("document.title === 'audiocodec' && document.readyState === 'complete'", 600)
    page.wait("document.getElementById('status').textContent === 'Ready.'", 600)
    print("without a server: the page loads, model included")


if __name__ == "__main__":
    main()
