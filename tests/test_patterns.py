"""Patterns and vocabularies: an exact inverse for any codes, whole or cut, in NumPy and torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audiocodec import CodecError, TokenHeader
from audiocodec.patterns import PATTERNS, Vocabulary
from audiocodec.runtime import RuntimeCodec

NAMES = list(PATTERNS)
HEADER = TokenHeader(
    model="m",
    fingerprint="00112233445566ff",
    sample_rate=16000,
    hop_length=320,
    original_sample_rate=16000,
    channels=1,
    codebook_sizes=(4, 7, 1000),
)
CODES = np.array([[0, 1, 2, 3], [3, 4, 5, 6], [7, 8, 9, 999]])


def vocabulary(pattern: str, **changes: Any) -> Vocabulary:
    return Vocabulary.of(HEADER, pattern, **changes)


def rows(pattern: str, codes: np.ndarray) -> str:
    """A sequence as text, `.` where no code stands."""
    found = np.atleast_2d(PATTERNS[pattern].interleave(codes))
    return " / ".join("".join("." if code < 0 else str(code) for code in row) for row in found)


def test_the_orders_are_those_of_the_papers() -> None:
    """Three codebooks, whose codes in frames 1 to 3 are 1 2 3, 4 5 6 and 7 8 9."""
    codes = np.arange(1, 10).reshape(3, 3)
    assert rows("flat", codes) == "147258369"
    assert rows("parallel", codes) == "123 / 456 / 789"
    assert rows("delay", codes) == "123.. / .456. / ..789"
    assert rows("coarse_first", codes) == "123456789"


shapes = st.tuples(st.integers(1, 5), st.integers(0, 9))


@settings(max_examples=80, deadline=None)
@given(name=st.sampled_from(NAMES), data=st.data(), lead=st.lists(st.integers(1, 3), max_size=2))
def test_every_sequence_becomes_its_codes_again(name: str, data: Any, lead: list[int]) -> None:
    count, frames = data.draw(shapes)
    dtype = data.draw(st.sampled_from([np.uint16, np.int32, np.int64]))
    codes = data.draw(arrays(dtype, (*lead, count, frames), elements=st.integers(0, 9999)))
    for kind in (np.asarray, torch.as_tensor):
        given_codes = kind(codes)
        sequence = PATTERNS[name].interleave(given_codes)
        assert sequence.shape[-1] == PATTERNS[name].num_steps(count, frames)
        found = PATTERNS[name].deinterleave(sequence, count)
        assert type(found) is type(given_codes)
        np.testing.assert_array_equal(np.asarray(found), codes)


@settings(max_examples=80, deadline=None)
@given(name=st.sampled_from(NAMES), shape=shapes, data=st.data())
def test_a_cut_sequence_gives_the_frames_that_are_whole(
    name: str, shape: tuple[int, int], data: Any
) -> None:
    """Exactly those frames of which every code stands before the cut."""
    count, frames = shape
    codes = np.arange(count * frames).reshape(shape)
    sequence = PATTERNS[name].interleave(codes)
    cut = sequence[..., : data.draw(st.integers(0, sequence.shape[-1]))]
    found = PATTERNS[name].deinterleave(cut, count, frames)
    whole = [f for f in range(frames) if np.isin(codes[:, f], cut).all()]
    assert whole == list(range(found.shape[1]))
    np.testing.assert_array_equal(found, codes[:, : len(whole)])
    if not PATTERNS[name].needs_length:
        np.testing.assert_array_equal(PATTERNS[name].deinterleave(cut, count), found)


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    sizes=st.lists(st.sampled_from([1, 2, 7, 1024]), min_size=1, max_size=4),
    frames=st.integers(0, 6),
    ends=st.tuples(st.booleans(), st.booleans()),
    first_id=st.sampled_from([0, 32000]),
    seed=st.integers(0, 99),
)
def test_tokens_become_codes_again(
    name: str,
    sizes: list[int],
    frames: int,
    ends: tuple[bool, bool],
    first_id: int,
    seed: int,
) -> None:
    found = Vocabulary(
        model="m",
        fingerprint="0" * 16,
        codebook_sizes=tuple(sizes),
        pattern=name,
        first_id=first_id,
    )
    limits = np.array(sizes)[:, None]
    codes = np.random.default_rng(seed).integers(0, limits, (len(sizes), frames))
    tokens = found.encode(codes, *ends)
    assert ((tokens >= first_id) & (tokens < found.size)).all()
    np.testing.assert_array_equal(found.decode(tokens), codes)
    padded = np.concatenate([tokens, np.full((*tokens.shape[:-1], 3), found.pad_id)], axis=-1)
    np.testing.assert_array_equal(found.decode(torch.as_tensor(padded)), codes)


def test_in_one_row_an_id_names_its_codebook() -> None:
    found = vocabulary("flat")
    assert found.offsets == (3, 7, 14) and found.size == 1014 and found.num_rows == 1
    assert vocabulary("coarse_first").offsets == found.offsets
    tokens = found.encode(CODES)
    for k in range(3):
        assert [token in found.ids(k) for token in tokens] == [n % 3 == k for n in range(12)]


def test_rows_of_their_own_share_ids() -> None:
    found = vocabulary("delay", first_id=100, special_tokens=("pad", "bos", "eos", "text"))
    assert found.offsets == (104, 104, 104) and found.size == 1104 and found.num_rows == 3
    assert found.special_id("text") == 103 and found.pad_id == 100
    tokens = found.encode(CODES, bos=True, eos=True)
    assert tokens[:, 0].tolist() == [101] * 3 and tokens[:, -1].tolist() == [102] * 3
    assert (found.codebooks(4) == -1).sum() == (tokens[:, 1:-1] == found.pad_id).sum() == 6


def test_coarse_first_tokens_show_their_length_where_they_were_cut() -> None:
    found = vocabulary("coarse_first")
    tokens = found.encode(CODES)
    np.testing.assert_array_equal(found.decode(tokens[:10]), CODES[:, :2])
    assert found.decode(tokens[:3]).shape == (3, 0)
    with pytest.raises(CodecError, match=r"10 steps are no whole sequence .* give num_frames"):
        PATTERNS["coarse_first"].deinterleave(tokens[:10], 3)


def test_the_first_eos_ends_a_sequence() -> None:
    found = vocabulary("delay")
    tokens = np.array(found.encode(CODES))
    tokens[0, 4] = found.special_id("eos")
    np.testing.assert_array_equal(found.decode(tokens), CODES[:, :2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: v.encode(CODES[0]), r"\[\.\.\., 3 codebooks, frames\], not \[4\]"),
        (lambda v: v.encode(CODES[:2]), r"3 codebooks, frames\], not \[2, 4\]"),
        (lambda v: v.encode(CODES / 2), "must be integers, not float64"),
        (lambda v: v.encode(torch.zeros(3, 2, dtype=torch.bool)), r"integers, not torch\.bool"),
        (lambda v: v.encode(CODES + 1), r"codebook 1 lie in 0 to 3, not 4 \(frame 3\)"),
        (lambda v: v.encode(torch.as_tensor(CODES - 1)), "codebook 1 lie in 0 to 3, not -1"),
        (lambda v: v.decode(CODES[None]), "decode the sequences of a batch one by one"),
        (lambda v: v.decode(np.full((3, 9), 1013)), "tokens of codebook 1 lie in 3 to 6, not 1013"),
        (lambda v: v.special_id("text"), "has pad, bos, eos"),
        (lambda v: v.order.deinterleave(CODES, 2), r"\[\.\.\., 2 codebooks, steps\]"),
        (lambda v: v.order.deinterleave(CODES, 3, 1), r"1 frames .* 3 steps .* has 4"),
        (lambda v: v.order.interleave(CODES[0]), "give codes"),
        (lambda v: vocabulary("zigzag"), "no pattern `zigzag`; there are flat, parallel"),
        (lambda v: vocabulary("flat", num_codebooks=4), "there are 3 codebooks; 4 asked for"),
        (lambda v: vocabulary("flat", special_tokens=("bos",)), "special tokens have `pad`"),
    ],
)
def test_a_mistake_is_named(call: Any, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        call(vocabulary("delay"))


def test_a_vocabulary_file_is_checked(tmp_path: Path, codec: RuntimeCodec) -> None:
    path = tmp_path / "vocabulary.json"
    found = vocabulary("coarse_first", num_codebooks=2)
    found.save(path)
    assert Vocabulary.load(path) == found
    found.check(HEADER)
    with pytest.raises(CodecError, match=r"of model m .* encode with the former"):
        found.check(codec)
    fewer = TokenHeader(**{**vars(HEADER), "codebook_sizes": (4,), "block_frames": 0})
    with pytest.raises(CodecError, match="encode with -n 2 or more"):
        found.check(fewer)
    good = json.loads(path.read_text())
    for change, message in (
        ({"pattern": "zigzag"}, "no pattern `zigzag`"),
        ({"version": 2}, "`version`: input should be less than or equal to 1"),
        ({"codebook_sizes": [4, 0]}, r"codebook_sizes\.1"),
        ({"fingerprint": "abc"}, "fingerprint"),
        ({"offset": 3}, "unknown key `offset`"),
        ({"format": "other"}, "format"),
    ):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(CodecError, match=message):
            Vocabulary.load(path)
    for text, message in (("{", "not valid JSON"), ("[1]", "not a vocabulary file")):
        path.write_text(text)
        with pytest.raises(CodecError, match=message):
            Vocabulary.load(path)
    with pytest.raises(CodecError, match="No such file"):
        Vocabulary.load(tmp_path / "none.json")


def test_patterns_need_no_torch() -> None:
    program = """
import sys
import numpy as np
from audiocodec.patterns import Vocabulary
v = Vocabulary(model="m", fingerprint="0" * 16, codebook_sizes=(4, 4), pattern="delay")
v.decode(v.encode(np.zeros((2, 3), int)))
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_delay_is_that_of_transformers_musicgen() -> None:
    """There a sequence begins with a column of `pad`, and `pad` stands where ours is filled."""
    musicgen = pytest.importorskip("transformers.models.musicgen.modeling_musicgen")
    pad, codes = 2048, torch.randint(0, 2048, (4, 9))
    model = SimpleNamespace(num_codebooks=4, config=SimpleNamespace(audio_channels=1))
    prompt = torch.nn.functional.pad(codes, (1, 0), value=pad)
    build = musicgen.MusicgenForCausalLM.build_delay_pattern_mask
    _, theirs = build(model, prompt, pad, max_length=4 + 9)
    ours = PATTERNS["delay"].interleave(codes, fill=pad)
    assert torch.equal(theirs[:, 1:], ours) and (theirs[:, 0] == pad).all()
    assert torch.equal(PATTERNS["delay"].deinterleave(theirs[:, 1:], 4), codes)
