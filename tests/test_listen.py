"""`codec listen`: a blind listening test that runs from one file, or a webMUSHRA configuration."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import subprocess
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import yaml

from audiocodec import save_audio
from audiocodec.evaluation.listening import find_systems
from audiocodec_cli.main import run

CHROMIUM = shutil.which("chromium")


class Page(HTMLParser):
    """The tags, the addresses and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: dict[str, str] = {}
        self.id = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [values[name] or "" for name in ("src", "href") if name in values]
        self.id = values.get("id") or tag

    def handle_data(self, data: str) -> None:
        self.texts[self.id] = self.texts.get(self.id, "") + data


def make(folder: str, names: str, speech: torch.Tensor, lengths: tuple[int, ...] = ()) -> None:
    for number, name in enumerate(names.split()):
        path = Path(folder, f"{name}.wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        length = lengths[number] if lengths else 8000
        save_audio(path, speech[0, :, 16_000 * number : 16_000 * number + length], 16_000)


@pytest.fixture
def decoded(here: Path, speech: torch.Tensor) -> Path:
    """Two systems and their references, as people lay them out."""
    for system in ("reference", "opus", "x <b>&"):
        make(f"in/{system}", "1 a/2", speech)
    return Path("in")


def read(page: str) -> dict[str, Any]:
    return json.loads(Page(Path(page).read_text(encoding="utf-8")).texts["test"])


def test_the_page_holds_everything_and_names_no_other_place(decoded: Path) -> None:
    title = "</script><b>Ours</b> & theirs"
    assert run(["listen", "in", "-o", "page.html", "--trials", "3", "--title", title]) == 0
    text = Path("page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert page.addresses == ["data:,"]
    assert page.tags.count("script") == 2
    assert "b" not in page.tags  # titles and names are text
    assert page.texts["h1"].strip() == title
    test = read("page.html")
    assert test["pairs"] == [["reference", "opus"], ["reference", "x <b>&"]]
    assert (test["trials"], test["clips"], test["seed"]) == (3, ["1", "a/2"], None)
    assert test["audio"].keys() == {"reference", "opus", "x <b>&"}
    for addresses in test["audio"].values():
        for address in addresses:
            data = base64.b64decode(address.removeprefix("data:audio/ogg;base64,"))
            audio, rate = soundfile.read(io.BytesIO(data))
            assert (rate, len(audio)) == (16_000, pytest.approx(8000, abs=960))
    assert [path.name for path in Path().iterdir() if path.is_file()] == ["page.html"]


def test_nothing_but_the_sound_tells_the_systems_apart(here: Path, speech: torch.Tensor) -> None:
    make("in/reference", "1 2", speech, (8000, 9000))
    make("in/opus", "1 2", speech, (8500, 16_000))
    assert run(["listen", "in", "--seconds", "0.5"]) == 0
    decoded = [
        soundfile.read(io.BytesIO(base64.b64decode(address.partition(",")[2])))[0]
        for addresses in read("listen.html")["audio"].values()
        for address in addresses
    ]
    assert len({len(audio) for audio in decoded}) == 1


def test_of_many_files_as_many_as_trials_are_in_the_page(here: Path, speech: torch.Tensor) -> None:
    for system in ("reference", "opus"):
        make(f"in/{system}", "1 2 3 4 5 6", speech)
    assert run(["listen", "in", "--trials", "3"]) == 0
    assert read("listen.html")["clips"] == ["1", "3", "5"]


def test_what_evaluate_saved_has_a_system_for_each_number_of_codebooks(
    here: Path, speech: torch.Tensor
) -> None:
    make("recordings", "1089/1 1089/2 1089/3", speech)  # more than were decoded
    for folder in ("in/mine/3", "in/mine/12", "in/opus"):
        make(folder, "1089/1 1089/2", speech)
    found = find_systems("in", reference="recordings")
    assert list(found.others) == ["mine/3", "mine/12", "opus"]
    assert found.clips == ("1089/1", "1089/2")
    assert found.others["mine/12"]["1089/2"] == Path("in/mine/12/1089/2.wav")
    shutil.move("recordings", "in/reference_16000")
    assert find_systems("in").others == found.others
    pair = find_systems("in", systems=["opus"], against="mine/3")
    assert (pair.base, list(pair.others)) == ("mine/3", ["opus"])
    assert "mine/3" not in find_systems("in", against="mine/3").others


def test_a_mistake_is_one_line(
    decoded: Path, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*words: str) -> str:
        assert run(["listen", *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert not list(Path().glob("*.html"))
        return line.removeprefix("error: ")

    assert error("none").startswith("none: no such folder")
    assert error("in", "-o", "page.txt").startswith("page.txt: has another suffix")
    assert error("in", "--system", "speex").startswith("in/speex: no such file or folder")
    make("only/reference", "1", speech)
    assert error("only").startswith("only: nothing in it to compare with reference")
    make("alone/opus", "1", speech)
    assert error("alone").startswith("alone: no folder reference in it")
    assert "nothing in it to compare with opus" in error("alone", "--against", "opus")
    make("in/opus", "1 3", speech)
    assert error("in").startswith("in/opus/3.wav: in/x <b>& has no file of this name")
    assert error("in", "--system", "opus").startswith("in/opus/3.wav: in/reference has no file")
    make("in/reference", "1 a/2", speech, (8000, 0))
    assert error("in", "--system", "x <b>&").startswith("in/reference/a/2.wav: has no audio")


def test_a_page_that_is_there_stays_unless_it_is_to_be_replaced(
    decoded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("listen.html").write_text("mine")
    assert run(["listen", "in"]) == 1
    assert "listen.html: is there already" in capsys.readouterr().err
    assert Path("listen.html").read_text() == "mine"
    assert run(["listen", "in", "--overwrite"]) == 0
    assert Path("listen.html").read_text() != "mine"


def test_the_configuration_of_webmushra(
    decoded: Path, speech: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["listen", "in", "--mushra", "my test.yaml", "--title", "Speech: 1"]) == 0
    config = yaml.safe_load(Path("my test.yaml").read_text(encoding="utf-8"))
    assert (config["testname"], config["testId"]) == ("Speech: 1", "my_test")
    welcome, (word, *pages), finish = config["pages"]
    assert (welcome["type"], word, finish["type"]) == ("generic", "random", "finish")
    assert [(page["type"], page["id"]) for page in pages] == [
        ("mushra", "001_1"),
        ("mushra", "002_a_2"),
    ]
    assert pages[1]["reference"] == "in/reference/a/2.wav"
    assert pages[1]["stimuli"] == {"opus": "in/opus/a/2.wav", "x <b>&": "in/x <b>&/a/2.wav"}
    assert pages[1]["strict"] is True
    capsys.readouterr()
    assert run(["listen", str(decoded.resolve()), "--mushra", "2.yaml"]) == 1
    assert "relative to its own folder" in capsys.readouterr().err
    make("in/opus", "1 a/2", speech, (8000, 7999))
    assert run(["listen", "in", "--mushra", "2.yaml"]) == 1
    assert "in/opus/a/2.wav: 7999 samples at 16000 Hz" in capsys.readouterr().err
    assert run(["listen", "in", "--mushra", "2.yaml", "--against", "opus"]) == 1
    assert "leave out --against" in capsys.readouterr().err
    assert run(["listen", "in", "--mushra", "2.yaml", "--trials", "3"]) == 2
    assert not Path("2.yaml").exists()


# A listener who hears everything: finds out by the data which one X is, and answers by keys. He
# reloads the page after the third trial and goes on.
LISTENER = """<script>
"use strict";
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
const note = (text) => {
  const line = document.createElement("p");
  line.className = "seen";
  line.textContent = text;
  document.body.append(line);
};
const duration = (player) => new Promise((done) => {
  if (player.readyState > 0) done(player.duration);
  else player.onloadedmetadata = () => done(player.duration);
});
async function listen() {
  note(`answers before: ${state ? state.answers.length : 0}`);
  document.getElementById("go").click();
  while (document.getElementById("result").hidden) {
    const number = state.answers.length;
    if (number === 3 && !sessionStorage.reloaded) {
      sessionStorage.reloaded = "yes";
      location.reload();
      return;
    }
    press("1");
    if (state.answers.length !== number) note("answered before listening");
    for (const side of ["a", "b", "x"]) press(side);
    const durations = await Promise.all(Object.values(players).map(duration));
    note(`durations: ${durations.map((each) => each.toFixed(1)).join(" ")}`);
    press(" ");
    press(trials[number].X === "A" ? "1" : "ArrowRight");
  }
  note(document.getElementById("message").textContent || "no message");
}
listen();
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_whole_test_in_a_browser(decoded: Path) -> None:
    words = ["listen", "in", "--trials", "6", "--seed", "7", "-o", "page.html"]
    assert run(words) == 0
    text = Path("page.html").read_text(encoding="utf-8")
    Path("driven.html").write_text(text.replace("</body>", LISTENER), encoding="utf-8")
    assert CHROMIUM is not None
    browser = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    browser += ["--autoplay-policy=no-user-gesture-required", "--enable-logging=stderr"]
    browser += [f"--user-data-dir={Path('profile').resolve()}", "--virtual-time-budget=60000"]
    address = Path("driven.html").resolve().as_uri()
    result = subprocess.run(
        [*browser, "--dump-dom", address], capture_output=True, text=True, timeout=240
    )
    errors = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    assert not errors
    page = Page(result.stdout)
    seen = re.findall(r'<p class="seen">(.*?)</p>', result.stdout)
    assert seen == ["answers before: 3", *["durations: 0.5 0.5 0.5"] * 9, "no message"]
    cells = re.findall(r"<td>(.*?)</td>", result.stdout)
    assert cells == [
        *["opus and reference", "6 of 6", "0.016", "told apart"],
        *["x &lt;b&gt;&amp; and reference", "6 of 6", "0.016", "told apart"],
    ]
    (link,) = [each for each in page.addresses if each.startswith("data:text/csv")]
    answers = list(csv.DictReader(io.StringIO(urllib.parse.unquote(link.partition(",")[2]))))
    assert [line["trial"] for line in answers] == [str(number) for number in range(1, 13)]
    assert {line["seed"] for line in answers} == {"7"}
    assert {line["correct"] for line in answers} == {"1"}
    assert {line["X"] for line in answers} == {"A", "B"}
    pairs = [{line["A"], line["B"]} for line in answers]
    assert pairs.count({"reference", "opus"}) == pairs.count({"reference", "x <b>&"}) == 6
    assert {line["A"] == "reference" for line in answers} == {True, False}
    assert [line["clip"] for line in answers].count("a/2") == 6
    # Comparisons and clips are in random order.
    assert pairs != sorted(pairs, key=lambda pair: "opus" in pair)
