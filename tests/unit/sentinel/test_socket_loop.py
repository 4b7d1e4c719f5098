"""When rounds begin, how they are numbered, and how many probes share one thread and one deadline."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.sentinel.sampler import Grid
from chaosext.sentinel.socket_loop import EVENT_READ, Probe, Wait, drive, readable

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = st.floats(0, 1e5, allow_nan=False)


@given(TIMES, st.sampled_from([0.5, 1.0, 2.0]), st.lists(st.floats(0, 10), max_size=30))
def test_numbers_rise_and_stay_on_the_grid_however_late_rounds_come(
    start_s: float, interval_s: float, delays: list[float]
) -> None:
    grid, now_s, last = Grid(start_s=start_s, interval_s=interval_s, first=7), start_s, 6
    for delay in delays:
        number = grid.next(now_s, last)
        assert number > last
        assert number - last == 1 or grid.begins_s(number) <= now_s
        now_s = max(now_s, grid.begins_s(number)) + delay
        assert now_s - grid.begins_s(number) >= -1e-6
        last = number


def test_a_round_that_overran_is_followed_by_the_next_one_and_five_lost_seconds_are_five_lost_numbers() -> (
    None
):
    grid = Grid(start_s=100.0, interval_s=1.0)
    assert grid.next(100.0, -1) == 0
    assert grid.next(100.9, 0) == 1
    assert grid.next(101.2, 0) == 1
    assert grid.next(106.3, 0) == 6
    assert grid.begins_s(6) == 106.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


def hears(sock: socket.socket) -> Probe[bytes]:
    try:
        yield from readable(sock)
    except TimeoutError:
        return b"timed out"
    return sock.recv(100)


def test_each_probe_has_its_own_answer_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    right.send(b"hello")
    left.send(b"world")
    assert drive([hears(left), hears(right)], time.monotonic() + 1) == [b"hello", b"world"]


def test_one_that_hears_nothing_ends_with_the_round_and_holds_up_no_other(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair
    left.send(b"world")
    began_s = time.monotonic()
    assert drive([hears(left), hears(right)], began_s + 0.2) == [b"timed out", b"world"]
    assert 0.2 <= time.monotonic() - began_s < 0.6


def test_one_that_breaks_was_not_measured_and_breaks_no_other(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left, right = pair

    def broken() -> Probe[bytes]:
        yield from hears(left)
        raise KeyError("whatever a server may answer")

    left.send(b"world")
    right.send(b"hello")
    assert drive([broken(), hears(right), hears(right)], time.monotonic() + 0.5) == [None, b"world", None]


def test_a_probe_may_wait_for_less_than_the_round(pair: tuple[socket.socket, socket.socket]) -> None:
    def impatient() -> Probe[bool]:
        return (yield Wait(pair[0], EVENT_READ, time.monotonic() + 0.05))

    began_s = time.monotonic()
    assert drive([impatient()], began_s + 5) == [False]
    assert time.monotonic() - began_s < 1


def test_what_was_begun_only_after_a_hold_up_is_not_called_timed_out(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """The process slept through the deadline: what had come by then counts, and what was not yet asked is unknown."""
    left, right = pair

    def sleeper() -> Probe[bytes]:
        right.send(b"x")
        yield from readable(left)
        time.sleep(0.5)
        left.recv(1)
        return (yield from hears(left))

    assert drive([sleeper(), hears(right)], time.monotonic() + 0.2) == [None, b"timed out"]
