"""Many tasks, few threads: what hangs or fails holds up nobody else."""

from __future__ import annotations

import threading
import time

from chaosext.run.monitor.sentinels import Hands


def test_all_that_was_given_is_done() -> None:
    done: list[int] = []
    hands = Hands(3)
    hands.give((str(number), lambda number=number: done.append(number)) for number in range(20))
    assert hands.wait(5)
    assert sorted(done) == list(range(20))
    hands.dismiss()


def test_one_that_hangs_holds_up_no_other_and_is_not_given_again() -> None:
    released, done = threading.Event(), []
    hands = Hands(2)
    for _ in range(3):
        hands.give(
            [("stuck", lambda: done.append(released.wait(5))), ("other", lambda: done.append("other"))]
        )
        time.sleep(0.05)
    assert done == ["other"] * 3
    assert not hands.wait(0.05)
    released.set()
    assert hands.wait(5)
    assert done.count(True) == 1
    hands.dismiss()


def test_a_task_that_fails_ends_nothing() -> None:
    done: list[str] = []
    hands = Hands(1)
    hands.give([("bad", lambda: 1 // 0 and None), ("good", lambda: done.append("good"))])
    assert hands.wait(5)
    assert done == ["good"]
    hands.dismiss()


def test_threads_end_when_they_are_dismissed_and_none_keeps_the_process() -> None:
    before = set(threading.enumerate())
    hands = Hands(4)
    mine = set(threading.enumerate()) - before
    assert len(mine) == 4
    assert all(thread.daemon for thread in mine)
    hands.dismiss()
    for thread in mine:
        thread.join(5)
    assert not any(thread.is_alive() for thread in mine)
