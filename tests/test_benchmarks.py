"""The benchmarks run and measure what their tables say."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from contexts import random_context

from audiocodec import Codec, CodecError, save_codec
from audiocodec.checkpoint import load_trainable
from audiocodec.training import Recipe

ROOT = Path(__file__).resolve().parents[1]
CLIPS = ROOT / "audiocodec" / "clips"
SMALL = [
    "codec.seanet.channels=[4, 8, 12, 16]",
    "codec.seanet.residual_units=[1, 1, 1, 1]",
    "codec.seanet.latent_dim=16",
    "codec.quantizer.num_codebooks=2",
    "schedule.codebooks=[1, 2]",
    "schedule.initialisation_frames=1100",
    "schedule.initialisation_steps=[1]",
    "schedule.log_every=1",
    "schedule.validate_every=2",
]


def load(name: str, folder: str = "benchmarks") -> ModuleType:
    """Import a script without running it. It can import the other scripts of its folder."""
    if str(ROOT / folder) not in sys.path:
        sys.path.append(str(ROOT / folder))
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_step_moves_a_simvq_table_whole_and_a_plain_one_where_it_was_chosen(
    tmp_path: Path,
) -> None:
    script = load("simvq_step")
    results = script.steps(size=64, dim=4, count=8)
    for result in results.values():
        torch.testing.assert_close(result.measured, result.predicted, rtol=1e-9, atol=1e-12)
        assert 0 < result.chosen.sum() < 64
    plain, simvq = results.values()
    moved = (plain.measured != 0).any(dim=1), (simvq.measured != 0).any(dim=1)
    assert torch.equal(moved[0], plain.chosen)
    assert moved[1].all()
    script.draw(results, tmp_path / "step.png")
    assert (tmp_path / "step.png").read_bytes().startswith(b"\x89PNG")


def test_simvq_keeps_more_entries_in_use_when_the_points_move(tmp_path: Path) -> None:
    script = load("simvq_plane")
    points = script.arc(300, torch.Generator().manual_seed(0))
    rows = script.all_moments(24, points, [0, 300])
    in_use = {name: int(moments[-1].used.sum()) for name, moments in rows.items()}
    assert in_use["VQ: random entries"] < in_use["SimVQ: random entries"]
    assert in_use["SimVQ: fitted, points move"] == 24
    script.draw(rows, [0, 300], tmp_path / "plane.png")
    assert (tmp_path / "plane.png").read_bytes().startswith(b"\x89PNG")


def test_the_search_bench_compares_like_with_like() -> None:
    script = load("search")
    for stages in (1, 3):
        times = script.compare(200, 256, stages, repeats=1)
        assert len(times) == 4
        assert min(times) > 0
    assert script.misses(50, 2000) == 0


def test_a_search_of_262144_entries_takes_little_memory() -> None:
    """All scores of these vectors together would take 600 MiB."""
    assert load("search").peak_megabytes(600, 262_144) < 150


def test_shapes_are_compared_after_equal_time(
    trainable: Codec, speech: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load("ablation")
    variants = {"same": {}, "deeper": {"decoder_residual_units": (1, 1, 1, 3)}}
    monkeypatch.setattr(sys.modules["shapes"], "VARIANTS", variants)
    monkeypatch.setattr(script, "TIMED", 1)
    save_codec(trainable, tmp_path / "small")
    clip = speech[0, 0, 16_000:40_000].numpy()
    soundfile.write(tmp_path / "clip.flac", clip, 16_000)
    words = [CLIPS, tmp_path, "--work", tmp_path / "work", "--recipe", ROOT / "recipes/tiny.yaml"]
    words += ["--model", tmp_path / "small", "--minutes", 0.0001, "--every", 1]
    words += ["--learns", "added", "--variant", "deeper", "--set", "discriminators=null"]
    words += ["--metric", "si_sdr"]

    def table() -> list[list[str]]:
        result = CliRunner().invoke(script.main, [str(x) for x in words], catch_exceptions=False)
        lines = result.output.split("| variant")[1].splitlines()
        return [line.split(" | ") for line in lines if line.startswith("| ")][1:]

    before, deeper, *_ = table()
    assert before[0] == "| before" and deeper[0] == "| deeper" and int(deeper[4]) >= 2
    assert len(before) == 5 + 2 * 3  # without the quantiser, and with three codebooks
    assert float(deeper[2]) >= float(before[2])
    trained = load_trainable(tmp_path / "work" / "added-deeper" / "run" / "model")
    audio = 0.1 * torch.randn(1, 1, 3200)
    assert torch.equal(trained.encode(audio), trainable.encode(audio))  # tokens stay
    kept = trained.decoder.state_dict()
    assert all(torch.equal(kept[k], v) for k, v in trainable.decoder.state_dict().items())
    assert not torch.equal(trained.autoencode(audio), trainable.autoencode(audio))


def test_every_member_of_the_codec_bench_has_a_recipe() -> None:
    recipes = {path.stem for path in (ROOT / "recipes" / "ablation").glob("*.yaml")}
    assert set(load("codecs").MEMBERS) == recipes - {"base"}


def test_the_codec_bench_trains_scores_and_does_not_train_again(tmp_path: Path) -> None:
    script, run = load("codecs"), tmp_path / "work" / "fsq"
    words = ["--data", str(CLIPS), "--validation", str(CLIPS), "--steps", "2", "--threads", "1"]
    words += ["--work", str(run.parent), "--picture", str(tmp_path / "curves.png")]
    words += ["--member", "fsq", "--clips", "1", *(w for s in SMALL for w in ("--set", s))]
    output = CliRunner().invoke(script.main, words, catch_exceptions=False).stdout
    (row,) = [line for line in output.splitlines() if line.startswith("| `fsq`")]
    assert row.count("|") == script.head((2,)).splitlines()[0].count("|")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")

    recipe, state = Recipe.from_yaml(run / "recipe.yaml"), run / "state.pt"
    assert script.last_step(run) == 2
    before = state.stat().st_mtime_ns
    script.train(recipe, run)
    assert state.stat().st_mtime_ns == before
    with pytest.raises(CodecError, match="other settings"):
        CliRunner().invoke(script.main, [*words, "--seed", "1"], catch_exceptions=False)


def test_the_quantiser_bench_measures_on_frames_that_were_not_trained_on(tmp_path: Path) -> None:
    script = load("quantizers")
    read = [script.cached_latents(CLIPS, "mel", "", 10.0, tmp_path / "cache") for _ in range(2)]
    assert torch.equal(*read)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    frames = read[0]
    for member in ("vq-default", "simvq"):
        size, result = script.measure(member, 64, 4, 1, 0, 3, frames[:300], frames[300:])
        assert size == 64
        assert result.distortion < 0
        assert 0 < result.usage <= 1


def test_planning_is_measured_for_manifests_and_lists() -> None:
    output = CliRunner().invoke(load("manifests").main, ["--lines", "50"]).stdout
    rows = [[cell.strip() for cell in line.split("|")] for line in output.splitlines()[2:]]
    assert [row[1:3] for row in rows] == [[".jsonl", "50"], [".txt", "50"]]


def test_usage_is_counted_over_all_files(model: str, codec: Codec) -> None:
    words = [str(CLIPS), "--model", model, "--threads", "1"]
    output = CliRunner().invoke(load("usage").main, words, catch_exceptions=False).stdout
    rows = [line for line in output.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == codec.num_codebooks
    assert "| 64 |" in rows[0]
    assert json.loads(output.split(", ")[1].split(" ")[0]) > 500


def test_new_codebooks_leave_less_than_those_of_an_untrained_model(tmp_path: Path) -> None:
    script = load("stages")
    assert script.gaussian_bound(torch.full((5,), 2.0), 10) == pytest.approx(10 * 2**-4, rel=1e-5)
    # One dimension lies below the water level and stays; the other four share the bits.
    variances = torch.tensor([0.001, 2.0, 2.0, 2.0, 2.0])
    assert script.gaussian_bound(variances, 4) == pytest.approx(0.001 + 8 * 2**-2, rel=1e-5)

    recipe = Recipe.from_yaml(
        ROOT / "recipes" / "speech_16khz.yaml", [*SMALL[:5], "codec.quantizer.dims=[8,4]"]
    )
    codec = Codec(recipe.codec).eval()
    latents = load("latents", "tools").latents_of(codec, CLIPS, 1100)
    initialise = load("initialise_codebooks", "tools").with_codebooks_for
    save_codec(codec, tmp_path / "old")
    save_codec(initialise(latents, codec, codec.config.quantizer), tmp_path / "new")
    models = ["--model", str(tmp_path / "old"), "--model", str(tmp_path / "new")]
    arguments = [str(CLIPS), *models, "--beam", "2", "--threads", "1"]
    output = CliRunner().invoke(script.main, arguments, catch_exceptions=False).output
    rows = [line.split(" | ") for line in output.splitlines() if line.startswith("| 2 |")]
    (_, bits, greedy, wide, bound), (_, _, new, new_wide, _) = rows
    assert bits == "20"
    assert float(new) < float(greedy) - 1
    assert float(wide) <= float(greedy)
    assert float(new_wide) <= float(new)
    assert math.isfinite(float(bound.rstrip(" |")))


def test_packets_are_measured_by_length_and_restart(tmp_path: Path) -> None:
    codec = Codec(Recipe.from_yaml(ROOT / "recipes" / "tiny.yaml").codec).eval()
    save_codec(codec, tmp_path / "m")
    random_context(codec.codebook_sizes).save(tmp_path / "m" / "context.safetensors")
    soundfile.write(tmp_path / "in.wav", np.random.uniform(-0.5, 0.5, 8000), 16000)
    words = [str(tmp_path), "--model", str(tmp_path / "m"), "-n", "2"]
    result = CliRunner().invoke(load("packets").main, words, catch_exceptions=False)
    rows = [line for line in result.output.splitlines() if line.startswith("| 2 |")]
    assert len(rows) == 14 + 2
    for row in rows[:14]:
        bits, packets, heads = (float(cell) for cell in row.split("|")[5:8])
        assert bits - 0.01 <= packets < heads


def test_a_long_file_takes_fewer_bytes_with_context_coding() -> None:
    script = load("coding")
    result = CliRunner().invoke(script.main, [str(CLIPS), "-n", "1", "--jobs", "1"])
    assert result.exit_code == 0, result.output
    row = result.stdout.splitlines()[-1].split("|")
    fixed, context = float(row[2]), float(row[3])
    assert 0.6 * fixed < context < 0.8 * fixed
    assert 1.1 < float(row[5]) < 1.5  # PESQ with one codebook


def test_generalisation_compares_speakers_of_the_corpora_that_both_have(tmp_path: Path) -> None:
    script = load("generalisation")
    noise = np.random.default_rng(0).standard_normal(16_000 * 3).astype(np.float32)
    for part, people in (("train", "abc"), ("held", "de")):
        folder = tmp_path / part
        folder.mkdir()
        lines = ["file,source,speaker"]
        for number, person in enumerate(people):
            soundfile.write(folder / f"{person}.wav", 0.1 * noise, 16_000)
            corpus = "other" if person == "c" else "one"
            # Paths begin at the folder above, or in the folder itself.
            lines.append(f"{part + '/' if number else ''}{person}.wav,{corpus},{person}")
        (folder / "index.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "clips"
    words = ["clips", str(tmp_path / "train"), str(tmp_path / "held"), "--out", str(out)]
    words += ["--seconds", "1", "--per-corpus", "4", "--opus", "0"]
    result = CliRunner().invoke(script.main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (out / "training").rglob("*.flac"))
    assert names == ["a-0.flac", "a-1.flac", "b-0.flac", "b-1.flac"]
    assert not (
        out / "original"
    ).exists()  # nothing is coded by Opus, so there is nothing before it
    for part, speakers, better in (("training", "ab", 0.1), ("validation", "de", 0.0)):
        lines = ["model,file,num_codebooks,stoi"]
        for number, name in enumerate(f"{part}/one/{s}-{k}.flac" for s in speakers for k in "01"):
            lines.append(f"m,{name},3,{0.8 + better + number / 100}")
            lines.append(f"opus,{name},0,{0.5 + number / 100}")
        (out / f"{part}.csv").write_text("\n".join(lines) + "\n")
    result = CliRunner().invoke(script.main, ["gap", str(out), "--scores", "stoi"])
    assert "| m 3 | stoi | 0.915 | 0.815 | +0.100 ± 0.028 |" in result.output
    assert "| m 3 - baseline | stoi | 0.400 | 0.300 | +0.100 ± 0.000 |" in result.output
    assert "| baseline | stoi | 0.515 | 0.515 | +0.000 ± 0.028 |" in result.output


def test_the_data_of_a_run_is_timed_on_copies_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load("training_data")
    monkeypatch.setattr(script, "PIECES", 20)
    small = [*SMALL, "codec.seanet.latent_dim=48"]
    changes = [word for override in small for word in ("--set", override)]
    options = ["--work", str(tmp_path), "--hours", "2", "--steps", "10", "--kind", "packed"]
    found = CliRunner().invoke(script.main, [*options, *changes])
    assert found.exit_code == 0, found.output
    assert found.output.count("\n| to ") == 10
    assert not list(tmp_path.iterdir())


def test_a_conditional_codebook_gains_where_a_stage_depends_on_the_one_before() -> None:
    """What the second stage codes is three times as large after one entry; no table follows."""
    script = load("conditional_codebooks")
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randint(2, (4000,), generator=generator) for _ in range(2))
    latents = torch.stack([8.0 * first - 4, (2.0 * second - 1) * (1 + 2.0 * first)], dim=1)
    entries = [torch.tensor([[-4.0, 0.0], [4.0, 0.0]]), torch.tensor([[0.0, -2.0], [0.0, 2.0]])]
    torch.manual_seed(0)
    left = []
    for hidden in (0, 16):
        coder = script.Coder(entries, hidden)
        assert script.left(coder, latents) == script.left(script.Coder(entries, 0), latents)
        script.train(coder, latents, 200, 0)
        left.append(script.left(coder, latents)[1])
    assert left[1] < left[0] - 5
