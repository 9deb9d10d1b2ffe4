"""Packets of codes: whole, lost, late, damaged and hostile ones."""

from __future__ import annotations

import struct
import subprocess
import sys
from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from contexts import random_context
from hypothesis import given, settings
from hypothesis import strategies as st
from test_context_files import CONTEXT, HEADER, SIZES, draw_codes

from audiocodec import CodecError
from audiocodec.tokens import PacketDecoder, PacketEncoder, TokenHeader
from audiocodec.tokens.context.arithmetic import IntervalDecoder, encode_interval
from audiocodec.tokens.packing import Codes

FIXED = replace(HEADER, coding="fixed", context="")
CODES = draw_codes(20)
HEADERS = [HEADER, FIXED]
GOLDEN = "5a8f000082fded99c9fa20432b0100028403cd6b6b70", "81de000082cb2750702452010082a00a81f0"


def pieces(codes: Codes, frames: int) -> list[Codes]:
    return np.split(codes, range(frames, codes.shape[2], frames), axis=2)


def sent(
    header: TokenHeader = HEADER, restart: int = 4, codes: Codes = CODES, frames: int = 1
) -> list[bytes]:
    encoder = PacketEncoder(header, CONTEXT, restart)
    return [encoder.encode(piece) for piece in pieces(codes, frames)]


def received(packets: Sequence[bytes], decoder: PacketDecoder) -> list[Codes | None]:
    found = [decoder.decode(packet) for packet in packets]
    return [each.codes if each else None for each in found]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([1, 2, 3, 17, 300]), min_size=1, max_size=5),
    channels=st.integers(1, 3),
    frames=st.integers(1, 7),
    restart=st.integers(1, 5),
    coding=st.sampled_from(["fixed", "context"]),
    seed=st.integers(0, 99),
)
def test_any_codes_come_back(
    sizes: list[int], channels: int, frames: int, restart: int, coding: str, seed: int
) -> None:
    held = tuple(sizes)
    context = random_context((*held, 5), seed)
    header = replace(
        HEADER,
        codebook_sizes=held,
        channels=channels,
        coding=coding,
        context=context.fingerprint if coding == "context" else "",
    )
    codes = draw_codes(17, held, channels, seed)
    encoder = PacketEncoder(header, context, restart)
    decoder = PacketDecoder(header, context)
    for piece in pieces(codes, frames):
        found = decoder.decode(encoder.encode(piece))
        assert found and (found.frames, found.lost) == (piece.shape[2], 0)
        np.testing.assert_array_equal(found.codes, piece)


def test_golden_bytes() -> None:
    assert b"".join(sent(restart=2, codes=CODES[:, :, :4], frames=2)).hex() == GOLDEN[0]
    assert b"".join(sent(FIXED, codes=CODES[:, :, :4], frames=2)).hex() == GOLDEN[1]


def test_fixed_coding_has_packets_of_equal_lengths() -> None:
    assert {len(packet) for packet in sent(FIXED)} == {5 + 2}  # 2 + 3 + 10 bits


@pytest.mark.parametrize("frames", [1, 5])
def test_a_packet_takes_its_bits_and_less_than_a_byte(frames: int) -> None:
    """From one restart to the next, the bits are those of a block of so many frames."""
    packets = sent(restart=20 // frames, frames=frames)
    bits = CONTEXT.bits(CODES).sum(axis=(0, 1)).reshape(-1, frames).sum(axis=1)
    for packet, least in zip(packets, bits, strict=True):
        assert len(packet) - 5 < least / 8 + 1


@settings(max_examples=60, deadline=None)
@given(lost=st.sets(st.integers(0, 19)), restart=st.integers(1, 6))
def test_after_a_loss_codes_come_again_at_the_next_restart(lost: set[int], restart: int) -> None:
    packets, decoder = sent(restart=restart), PacketDecoder(HEADER, CONTEXT)
    whole, missing, begun = False, 0, False
    for number, packet in enumerate(packets):
        if number in lost:
            whole, missing = False, missing + 1
            continue
        whole |= number % restart == 0
        found = decoder.decode(packet)
        assert found is not None and found.frames == 1
        assert found.lost == (missing if begun else 0)
        assert (found.codes is not None) == whole
        if found.codes is not None:
            np.testing.assert_array_equal(found.codes, CODES[:, :, number : number + 1])
        missing, begun = 0, True


def test_with_fixed_coding_a_loss_costs_no_other_packet() -> None:
    found = received(sent(FIXED)[::3], PacketDecoder(FIXED))
    np.testing.assert_array_equal(np.concatenate(found, axis=2), CODES[:, :, ::3])


@pytest.mark.parametrize("header", HEADERS)
def test_any_flipped_bit_or_cut_makes_a_packet_one_that_is_lost(header: TokenHeader) -> None:
    packets = sent(header, frames=4)
    decoder = PacketDecoder(header, CONTEXT)
    assert decoder.decode(packets[0])
    for place in range(8 * len(packets[1])):
        damaged = bytearray(packets[1])
        damaged[place // 8] ^= 1 << place % 8
        assert decoder.decode(bytes(damaged)) is None
    for length in range(len(packets[1])):
        assert decoder.decode(packets[1][:length]) is None
    found = decoder.decode(packets[2])
    assert found and found.lost == 1
    assert (found.codes is None) == (header is HEADER)


def test_packets_that_come_late_or_twice_are_passed_over() -> None:
    packets, decoder = sent(restart=1), PacketDecoder(HEADER, CONTEXT)
    assert decoder.decode(packets[1])
    for again in (packets[1], packets[0]):
        assert decoder.decode(again) is None
    found = decoder.decode(packets[2])
    assert found and found.lost == 0 and found.codes is not None


def test_a_packet_of_another_stream_is_passed_over() -> None:
    other = replace(HEADER, fingerprint="0" * 16)
    assert PacketDecoder(HEADER, CONTEXT).decode(sent(other)[0]) is None


def test_numbers_begin_again_after_65535() -> None:
    encoder, decoder = PacketEncoder(FIXED), PacketDecoder(FIXED)
    for number in range(2**16 + 2):
        packet = encoder.encode(CODES[:, :, :1])
        if number % 9999 == 0 or number > 2**16 - 3:
            found = decoder.decode(packet)
            assert found and found.lost in (0, 9998, 2**16 - 3 - 6 * 9999)
    assert packet[2:4] == b"\x01\x00"


def test_a_receiver_begins_at_the_next_restart_and_a_sender_can_make_one() -> None:
    encoder, decoder = PacketEncoder(HEADER, CONTEXT, 100), PacketDecoder(HEADER, CONTEXT)
    packets = []
    for number, piece in enumerate(pieces(CODES, 1)):
        if number == 7:
            encoder.restart()
        packets.append(encoder.encode(piece))
    found = received(packets[3:], decoder)
    assert all(codes is None for codes in found[:4])
    np.testing.assert_array_equal(np.concatenate(found[4:], axis=2), CODES[:, :, 7:])
    assert decoder.decode(packets[0]) is None  # late
    decoder.reset()
    assert decoder.decode(packets[0])


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=40), frames=st.integers(0, 255), header=st.sampled_from(HEADERS))
def test_hostile_bytes_with_a_right_check_give_codes_or_nothing(
    data: bytes, frames: int, header: TokenHeader
) -> None:
    rest = struct.pack("<HB", 0, frames) + data
    check = struct.pack("<H", crc_hqx(rest, crc_hqx(header.to_bytes(), 0)))
    found = PacketDecoder(header, CONTEXT).decode(check + rest)
    if found and found.codes is not None:
        assert found.codes.shape == (1, 3, found.frames)
        assert ((found.codes >= 0) & (found.codes < np.array(SIZES)[:, None])).all()


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (CODES[:, :, :0], r"takes codes \[1, 3, 1 to 127\]"),
        (draw_codes(128), r"takes codes \[1, 3, 1 to 127\]"),
        (draw_codes(1, channels=2), r"takes codes \[1, 3, 1 to 127\]"),
        (CODES[:, :2], "2 codebooks"),
        (CODES + 4, "outside their codebooks"),
    ],
)
@pytest.mark.parametrize("header", HEADERS)
def test_what_is_no_packet_is_refused_and_harms_nothing(
    header: TokenHeader, codes: Codes, words: str
) -> None:
    encoder = PacketEncoder(header, CONTEXT)
    packets = [encoder.encode(CODES[:, :, :2])]
    with pytest.raises(CodecError, match=words):
        encoder.encode(codes)
    packets.append(encoder.encode(CODES[:, :, 2:]))
    found = received(packets, PacketDecoder(header, CONTEXT))
    np.testing.assert_array_equal(np.concatenate(found, axis=2), CODES)


def test_what_cannot_begin_is_one_line() -> None:
    with pytest.raises(CodecError, match=f"context model {CONTEXT.fingerprint} of model m"):
        PacketEncoder(HEADER)
    with pytest.raises(CodecError, match="restart_packets: 1 or more, not 0"):
        PacketEncoder(FIXED, restart_packets=0)
    with pytest.raises(CodecError, match="no packets with magic coding"):
        PacketDecoder(replace(FIXED, coding="magic"))
    many = replace(HEADER, channels=40)
    with pytest.raises(CodecError, match="a packet of 6000 codes; with context coding 4096 fit"):
        PacketEncoder(many, CONTEXT).encode(draw_codes(50, channels=40))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**20), count=st.integers(1, 60))
def test_an_interval_takes_its_bits_in_whole_bytes(seed: int, count: int) -> None:
    draw = np.random.default_rng(seed)
    sizes = np.minimum(draw.geometric(0.001, count), 2**16)
    starts = draw.integers(0, 2**16 - sizes + 1)
    data = encode_interval(starts, sizes, 16)
    bits = (16 - np.log2(sizes)).sum()
    assert len(data) < bits / 8 + 1
    decoder = IntervalDecoder(data, count, 16)
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        peeked = decoder.peek()
        assert start <= peeked < start + size
        decoder.take(peeked, start, size)


def test_packets_need_no_torch() -> None:
    script = (
        "import sys; from audiocodec.tokens import PacketDecoder; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr
