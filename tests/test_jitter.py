"""The jitter buffer: whatever a network does, codes in order and in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_context_files import CONTEXT, HEADER, draw_codes
from test_packets import CODES, FIXED, HEADERS, sent

from audiocodec import CodecError
from audiocodec.tokens import JitterBuffer, PacketEncoder, TokenHeader, Turn
from audiocodec.tokens.jitter import PAUSE

COUNT = CODES.shape[2]
PACKETS = {header.coding: sent(header) for header in HEADERS}


def played(
    buffer: JitterBuffer, packets: Sequence[bytes], arrivals: Mapping[int, Sequence[int]], pops: int
) -> list[Turn | None]:
    """One pop after the packets that arrive in each of so many packets' times."""
    turns = []
    for time in range(pops):
        for number in arrivals.get(time, ()):
            buffer.push(packets[number])
        turns.append(buffer.pop())
    return turns


def by_time(times: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """When each packet arrives, once or more -> which ones arrive at each time."""
    found: dict[int, list[int]] = {}
    for number in times:
        for time in times[number]:
            found.setdefault(time, []).append(number)
    return found


@st.composite
def networks(draw: st.DrawFn) -> tuple[int, dict[int, list[int]]]:
    """A delay, and the arrivals of packets that travel no longer, some twice, in any order."""
    delay = draw(st.integers(0, 6))
    times = {
        number: [number + draw(st.integers(0, delay)) for _ in range(draw(st.integers(1, 2)))]
        for number in draw(st.permutations(range(COUNT)))
    }
    return delay, by_time(times)


@settings(max_examples=150, deadline=None)
@given(network=networks(), header=st.sampled_from(HEADERS))
def test_any_order_within_the_delay_gives_the_senders_codes(
    network: tuple[int, dict[int, list[int]]], header: TokenHeader
) -> None:
    delay, arrivals = network
    buffer = JitterBuffer(header, CONTEXT, delay)
    turns = played(buffer, PACKETS[header.coding], arrivals, COUNT + 2 * delay)
    found = [turn for turn in turns if turn][:COUNT]
    assert [turn.number for turn in found] == list(range(COUNT))
    np.testing.assert_array_equal(np.concatenate([turn.codes for turn in found], axis=2), CODES)
    assert buffer.counts.duplicate == sum(map(len, arrivals.values())) - COUNT
    assert (buffer.counts.late, buffer.counts.undecoded, len(buffer)) == (0, 0, 0)


@settings(max_examples=200, deadline=None)
@given(
    delay=st.integers(0, 5),
    travel=st.lists(st.lists(st.integers(0, 30), max_size=2), min_size=COUNT, max_size=COUNT),
)
def test_each_number_has_one_turn_at_most_with_its_codes_or_none(
    delay: int, travel: list[list[int]]
) -> None:
    """Packets that travel for any time, twice or never: all are counted, none is given twice."""
    arrivals = by_time({n: [n + time for time in times] for n, times in enumerate(travel)})
    buffer = JitterBuffer(FIXED, delay=delay)
    found = [turn for turn in played(buffer, PACKETS["fixed"], arrivals, 80) if turn]
    numbers = [turn.number for turn in found]
    assert numbers == sorted(set(numbers))
    whole = [turn for turn in found if turn.codes is not None]
    for turn in whole:
        np.testing.assert_array_equal(turn.codes, CODES[:, :, turn.number : turn.number + 1])
    counts = buffer.counts
    assert counts.arrived == len(whole) + counts.late + counts.duplicate
    if numbers:
        assert len(whole) + counts.lost == numbers[-1] - numbers[0] + 1


@settings(max_examples=100, deadline=None)
@given(delay=st.integers(0, 5), lost=st.sets(st.integers(1, COUNT - 2), max_size=PAUSE - 1))
def test_a_lost_packet_is_reported_once_and_in_its_turn(delay: int, lost: set[int]) -> None:
    buffer = JitterBuffer(FIXED, delay=delay)
    arrivals = {number: [number] for number in range(COUNT) if number not in lost}
    turns = played(buffer, PACKETS["fixed"], arrivals, COUNT + delay)
    assert turns[:delay] == [None] * delay
    assert [turn.number for turn in turns[delay:] if turn] == list(range(COUNT))
    assert {turn.number for turn in turns if turn and turn.codes is None} == lost
    assert buffer.counts.lost == len(lost)


def test_a_packet_that_comes_after_its_turn_is_late_once_and_then_a_duplicate() -> None:
    buffer = JitterBuffer(FIXED, delay=1)
    played(buffer, PACKETS["fixed"], {0: [3], 1: [5], 4: [4, 4], 5: [2, 5]}, 6)
    counts = buffer.counts
    assert (counts.arrived, counts.lost, counts.late, counts.duplicate) == (6, 3, 2, 2)


def test_with_context_coding_codes_come_again_at_the_next_restart() -> None:
    buffer = JitterBuffer(HEADER, CONTEXT, delay=0)
    arrivals = {number: [number] for number in range(COUNT) if number != 5}  # restarts: 0, 4, 8 ...
    turns = played(buffer, PACKETS["context"], arrivals, COUNT)
    assert [turn.number for turn in turns if turn and turn.codes is None] == [5, 6, 7]
    assert (buffer.counts.lost, buffer.counts.undecoded) == (1, 2)


@pytest.mark.parametrize("more", [2, 9, 30])
def test_when_the_network_takes_longer_turns_begin_again_later(more: int) -> None:
    """From number 20 on, each packet travels longer than the delay by ``more`` packets."""
    packets, delay = sent(FIXED, codes=draw_codes(120)), 2
    arrivals = by_time({n: [n + (delay + more if n >= 20 else 0)] for n in range(120)})
    turns = played(JitterBuffer(FIXED, delay=delay), packets, arrivals, 170)
    whole = {turn.number for turn in turns if turn and turn.codes is not None}
    assert set(range(20)) | set(range(20 + more + PAUSE, 120)) <= whole


def test_a_pause_ends_turns_and_a_jump_in_numbers_counts_as_lost() -> None:
    packets, delay = sent(FIXED, codes=draw_codes(120)), 2
    arrivals = {number: [number] for number in (*range(10), *range(60, 70))}
    buffer = JitterBuffer(FIXED, delay=delay)
    turns = played(buffer, packets, arrivals, 72)
    numbers = [turn.number for turn in turns if turn]
    assert numbers == [*range(10 + PAUSE), *range(60, 70)]
    assert buffer.counts.lost == 50


def test_numbers_are_counted_on_after_65535() -> None:
    encoder, buffer = PacketEncoder(FIXED), JitterBuffer(FIXED, delay=1)
    numbers = Counter[int]()
    for number in range(2**16 + 40):
        packet = encoder.encode(CODES[:, :, :1])
        if number >= 2**16 - 40 and number % 7:
            buffer.push(packet)
        turn = buffer.pop()
        numbers.update([turn.number] if turn else [])
    assert list(numbers) == list(range(2**16 - 40, 2**16 + 39))
    assert max(numbers.values()) == 1


def test_damaged_packets_are_counted_and_a_packet_says_how_long_it_lasts() -> None:
    packets, buffer = sent(FIXED, frames=4), JitterBuffer(FIXED, delay=0)
    for packet in (b"", packets[0][:-1], packets[0], packets[2]):
        buffer.push(packet)
    assert (buffer.counts.damaged, buffer.counts.arrived, buffer.frames) == (2, 2, 4)
    turns = [buffer.pop() for _ in range(3)]
    assert [turn and (turn.frames, turn.codes is None) for turn in turns] == [
        (4, False),
        (4, True),
        (4, False),
    ]


def test_after_a_reset_a_sender_may_begin_again() -> None:
    buffer = JitterBuffer(HEADER, CONTEXT, delay=0)
    for _ in range(2):
        turns = played(buffer, PACKETS["context"], {n: [n] for n in range(COUNT)}, COUNT)
        assert all(turn and turn.codes is not None for turn in turns)
        buffer.reset()


def test_a_negative_delay_is_one_line() -> None:
    with pytest.raises(CodecError, match="delay: 0 packets or more, not -1"):
        JitterBuffer(FIXED, delay=-1)


def test_a_header_comes_back_from_its_bytes() -> None:
    for header in HEADERS:
        assert TokenHeader.from_bytes(header.to_bytes() + b"more") == header
    with pytest.raises(CodecError, match="a datagram: its header is damaged"):
        TokenHeader.from_bytes(HEADER.to_bytes()[:-1] + b"x", "a datagram")
