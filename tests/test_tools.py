"""The tools make models that can be used and trained on; the chain of the bundled one runs."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from audiocodec import Codec, CodecError, load_codec, save_codec
from audiocodec.bundled import CLIPS
from audiocodec.checkpoint import load_trainable
from audiocodec.modules.attention import AttentionConfig
from audiocodec.training import Recipe
from audiocodec.training.context.network import ContextConfig

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts of `tools` can be imported."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))


@pytest.fixture
def codec() -> Codec:
    """A random trainable codec of the shape in recipes/tiny.yaml."""
    return Codec(Recipe.from_yaml(ROOT / "recipes" / "tiny.yaml").codec).eval()


def invoke(script: str, *words: object) -> str:
    """Run a script as a command and return what it prints."""
    command = import_module(script).main
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_an_average_lies_between_two_models(codec: Codec, tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = Codec(codec.config)
    save_codec(codec, tmp_path / "a")
    save_codec(other, tmp_path / "b")
    words = [tmp_path / "a", tmp_path / "b", "--share", "0.25", "--out", tmp_path / "c"]
    assert "0.75 of" in invoke("average", *words)
    average = load_trainable(tmp_path / "c").state_dict()
    for name, value in codec.state_dict().items():
        if value.is_floating_point():
            expected = 0.75 * value + 0.25 * other.state_dict()[name]
            torch.testing.assert_close(average[name], expected)


def test_models_of_different_configurations_are_not_averaged(codec: Codec, tmp_path: Path) -> None:
    save_codec(codec, tmp_path / "a")
    arguments = [str(tmp_path / "a"), "speech_16khz", "--out", str(tmp_path / "c")]
    with pytest.raises(CodecError, match="its configuration differs"):
        CliRunner().invoke(import_module("average").main, arguments, catch_exceptions=False)
    assert not (tmp_path / "c").exists()


def test_new_codebooks_leave_the_networks_as_they_are(codec: Codec, tmp_path: Path) -> None:
    save_codec(codec, tmp_path / "old")
    options = ["--frames", 300, "--dims", "8,4", "--threads", 1, "--out", tmp_path / "new"]
    assert "for 300 frames" in invoke("initialise_codebooks", tmp_path / "old", CLIPS, *options)
    old, new = load_trainable(tmp_path / "old"), load_trainable(tmp_path / "new")
    assert [stage.codebook.dim for stage in new.quantizer.stages] == [8, 4, 4, 4]
    for network in ("encoder", "decoder"):
        before, after = (getattr(model, network).state_dict() for model in (old, new))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_more_codebooks_keep_the_codes_of_the_first(codec: Codec, tmp_path: Path) -> None:
    save_codec(codec, tmp_path / "old")
    more = ["--frames", 300, "--keep", 4, "--num-codebooks", 6, "--out", tmp_path / "new"]
    invoke("initialise_codebooks", tmp_path / "old", CLIPS, *more)
    audio = 0.1 * torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0))
    old, new = (load_codec(tmp_path / name) for name in ("old", "new"))
    codes = new.encode(audio)
    assert codes.shape[1] == 6 and torch.equal(codes[:, :4], old.encode(audio))
    latents = new.latents(audio)
    distances = [
        (new.tables.decode(codes[:, :count]) - latents).square().mean() for count in (4, 5, 6)
    ]
    assert distances[0] > distances[1] > distances[2]


def test_more_codebooks_than_there_are_cannot_be_kept(codec: Codec, tmp_path: Path) -> None:
    save_codec(codec, tmp_path / "old")
    arguments = [str(tmp_path / "old"), str(CLIPS), "--keep", "9", "--out", "x"]
    result = CliRunner().invoke(import_module("initialise_codebooks").main, arguments)
    assert result.exit_code == 2 and "does not have 9 codebooks" in result.output


def test_dimensions_that_are_no_numbers_are_refused() -> None:
    arguments = ["speech_16khz", str(CLIPS), "--dims", "a,b", "--frames", "2", "--out", "x"]
    result = CliRunner().invoke(import_module("initialise_codebooks").main, arguments)
    assert result.exit_code == 2
    assert "write numbers with commas" in result.output


def test_a_larger_model_decodes_almost_as_before(codec: Codec, tmp_path: Path) -> None:
    larger = {
        "channels": [4, 8, 14, 16],
        "residual_units": [2, 2, 1, 2],
        "decoder_channels": [6, 9, 14, 16],
        "decoder_residual_units": [2, 2, 1, 4],
        "attention": {"encoder_blocks": 1, "decoder_blocks": 2, "heads": 2},
    }
    save_codec(codec, tmp_path / "m")
    words = [word for key, value in larger.items() for word in ("--set", f"{key}={value}")]
    assert "M parameters" in invoke("grow", tmp_path / "m", *words, "--out", tmp_path / "larger")
    grown = load_trainable(tmp_path / "larger").eval()
    assert grown.config.seanet.attention.decoder_blocks == 2
    audio = 0.1 * torch.randn(1, 1, 3200)
    with torch.no_grad():
        before, after = codec.autoencode(audio), grown.autoencode(audio)
    assert 0 < (after - before).norm() < 0.01 * before.norm()

    wider = codec.config.seanet.model_copy(update={"channels": (6, 8, 12, 20)})
    attentive = AttentionConfig(encoder_blocks=1, decoder_blocks=1, heads=2)
    for shape in (wider, codec.config.seanet.model_copy(update={"attention": attentive})):
        with torch.no_grad():  # these are exactly silent
            after = import_module("grow").grown(codec, shape).autoencode(audio)
        torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("residual_units=[1,0,1,1]", "none may be less"),
        ("decoder_channels=[4,8,12,8]", "decoder_channels.* none may be less"),
        ("latent_dim=20", "`latent_dim` differs"),
    ],
)
def test_a_model_does_not_shrink(codec: Codec, tmp_path: Path, setting: str, message: str) -> None:
    save_codec(codec, tmp_path / "m")
    words = [str(tmp_path / "m"), "--set", setting, "--out", str(tmp_path / "out")]
    with pytest.raises(CodecError, match=message):
        CliRunner().invoke(import_module("grow").main, words, catch_exceptions=False)
    assert not (tmp_path / "out").exists()


def test_the_chain_of_the_bundled_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech: Tensor
) -> None:
    monkeypatch.chdir(ROOT)
    printed = invoke("make_speech_16khz", "--smoke", "--out", tmp_path)
    model = load_codec(tmp_path / "speech_16khz")
    assert model.context is not None and model.default_coding() == "context"
    assert (tmp_path / "speech_16khz" / "golden.tok").is_file()
    assert model.decode(model.encode(speech), speech.shape[-1]).shape == speech.shape
    # The same command again finds everything done.
    made = (tmp_path / "speech_16khz" / "model.safetensors").stat().st_mtime_ns
    assert invoke("make_speech_16khz", "--smoke", "--out", tmp_path).count("$ ") == printed.count(
        "$ "
    )
    assert (tmp_path / "speech_16khz" / "model.safetensors").stat().st_mtime_ns == made


def test_the_chain_ends_in_the_shape_of_the_bundled_model() -> None:
    printed = invoke("make_speech_16khz", "--list", "--out", "runs/x")
    commands = [line[2:].split() for line in printed.splitlines() if line.startswith("$ ")]
    assert commands[-1][:2] == ["codec", "verify"]
    (context,) = [words for words in commands if words[1] == "train-context"]
    hidden = [int(units) for units in context[context.index("--hidden") + 1].split(",")]
    network, bundled = ContextConfig(hidden=tuple(hidden)), load_codec("speech_16khz").context
    assert bundled
    for stage in range(16):
        units = len(bundled.tensors[f"stages.{stage}.hidden.bias"])
        assert network.hidden_units(stage) == units
    trained = [words for words in commands if words[1] == "train"]
    for words in trained:
        text = " ".join(words).replace("'", "")
        overrides = [f"{key}" for key in re.findall(r"--set (\S+)", text)]
        recipe = Recipe.from_yaml(ROOT / "recipes" / f"{words[2]}.yaml", overrides)
    assert recipe.codec == load_trainable("speech_16khz").config


def test_lines_are_limited_to_what_is_beside_them() -> None:
    limited = import_module("limit_lines").limited
    torch.manual_seed(0)
    time = torch.arange(32000) / 16000
    noise = 0.01 * torch.randn(1, 1, len(time))
    line = 0.01 * torch.sin(2 * torch.pi * 2800 * time)
    level = (noise + line)[0, 0].stft(2560, window=torch.hann_window(2560), return_complex=True)
    after = limited(noise + line, 40, 320, 1900.0, 16000)
    spectrum = after[0, 0].stft(2560, window=torch.hann_window(2560), return_complex=True)
    before, now = (x.abs().square().mean(dim=1) for x in (level, spectrum))
    bin_of_line, others = 2800 * 2560 // 16000, slice(460, 500)
    assert before[bin_of_line] > 50 * before[others].mean()
    assert now[bin_of_line] < 2 * now[others].mean()
    # A line elsewhere, and one below the limit, stay.
    for hertz in (2850, 1200):
        audio = noise + 0.01 * torch.sin(2 * torch.pi * hertz * time)
        kept = limited(audio, 40, 320, 1900.0, 16000)
        assert (kept - audio).square().mean() < 0.05 * noise.square().mean()


def test_a_decoder_learns_to_limit_its_lines_and_tokens_stay(codec: Codec, tmp_path: Path) -> None:
    save_codec(codec, tmp_path / "before")
    words = ["--minutes", 0.1, "--steps", 2, "--out", tmp_path / "after"]
    assert "step 2: distance" in invoke("limit_lines", tmp_path / "before", CLIPS, *words)
    before, after = (load_trainable(tmp_path / name).state_dict() for name in ("before", "after"))
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder"}


def test_a_high_pass_is_added_and_nothing_else_changes(codec: Codec, tmp_path: Path) -> None:
    save_codec(codec, tmp_path / "m")
    told = invoke("add_highpass", tmp_path / "m", "--hz", "70", "--out", tmp_path / "filtered")
    assert "high-pass at 70 Hz" in told
    before, after = (load_trainable(tmp_path / name) for name in ("m", "filtered"))
    assert after.config.highpass_hz == 70
    added = after.state_dict().keys() - before.state_dict().keys()
    assert added == {"encoder.highpass.kernel"}
    for name, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], value), name
    codec_in_use = load_codec(tmp_path / "filtered")
    silence = torch.zeros(1, 1, 16_000)
    settled = slice(10, None)
    assert torch.equal(
        codec_in_use.encode(silence + 0.1)[..., settled], codec_in_use.encode(silence)[..., settled]
    )
