"""What one process holds, another waits for."""

import subprocess
import sys
import threading

import pytest

from chaosext.model.errors import Refused
from chaosext.testbed.bed_lock import locked


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_free_lock_is_not_waited_for():
    with locked("bed", pytest.fail), locked("another", pytest.fail):
        pass


def test_a_second_holder_says_that_it_waits_and_comes_after_the_first():
    order, waits = [], threading.Event()

    def second():
        with locked("bed", waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked("bed"):
        thread.start()
        assert waits.wait(20)
        order.append("first")
    thread.join(20)

    assert order == ["first", "second"]


def test_a_killed_holder_lets_go():
    code = (
        "import os\nfrom chaosext.testbed.bed_lock import locked\nwith locked('bed'): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9

    with locked("bed", pytest.fail):
        pass


def test_a_lock_that_is_never_let_go_is_refused_with_how_to_see_who_has_it(monkeypatch):
    monkeypatch.setattr("chaosext.testbed.bed_lock.WAITED_S", 0.3)
    with (
        locked("bed"),
        pytest.raises(Refused, match=r"has held the lock 'bed'.*fuser .*/locks/bed"),
        locked("bed"),
    ):
        pytest.fail("two held it at once")
