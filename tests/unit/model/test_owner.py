"""Who holds something, and when it may be said that it has ended."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chaosext.model import owner
from chaosext.model.owner import Holder, me

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def held_by(pid: int) -> Holder:
    words = owner._stat(pid)
    assert words
    return replace(me(), pid=pid, started=int(words[owner._START_TIME]))


def test_who_lives_is_not_dead_and_who_ended_is(child: subprocess.Popen[bytes]) -> None:
    held = held_by(child.pid)
    assert not me().is_dead
    assert not held.is_dead
    assert replace(held, started=held.started + 1).is_dead
    child.communicate()
    assert held.is_dead


def test_a_zombie_is_dead(child: subprocess.Popen[bytes]) -> None:
    held = held_by(child.pid)
    assert child.stdin
    child.stdin.close()
    while owner._stat(child.pid)[0] != "Z":  # type: ignore[index]
        pass
    assert held.is_dead
    child.stdin = None


def test_a_process_that_proc_does_not_show_is_dead_only_where_the_kernel_says_so(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc mounted with hidepid shows nobody else's processes (proc(5)): a colleague's run is not dead for that."""
    held = held_by(child.pid)
    monkeypatch.setattr(owner, "_stat", lambda _pid: None)
    assert not held.is_dead
    monkeypatch.setattr("os.kill", _forbidden)
    assert not held.is_dead
    monkeypatch.undo()
    child.communicate()
    monkeypatch.setattr(owner, "_stat", lambda _pid: None)
    assert held.is_dead
    assert replace(held, pid=10**30).is_dead


def _forbidden(_pid: int, _signal: int) -> None:
    raise PermissionError


def test_of_another_boot_or_pid_namespace_nothing_is_known() -> None:
    ended = replace(me(), pid=2**22 + 1)
    assert ended.is_dead
    assert not replace(ended, boot="another").is_dead
    assert not replace(ended, pids="another").is_dead
