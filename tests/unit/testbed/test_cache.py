"""Kept builds: built once, keyed by their inputs, whole or not there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from chaosext.model.paths import cache_home
from chaosext.testbed.cache import is_kept, kept, key_of


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "chaosext"


def test_home_follows_xdg_and_ignores_a_relative_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_home() == home
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_home() == Path.home() / ".cache" / "chaosext"


def test_key_follows_the_inputs_and_not_their_order() -> None:
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1})
    assert key_of({"a": 1, "b": [2]}) != key_of({"a": 1, "b": [3]})


def test_builds_once_for_the_same_inputs(home: Path) -> None:
    builds: list[Path] = []

    def build(target: Path) -> None:
        builds.append(target)
        (target / "file").write_text("x")

    assert not is_kept("tool", [1])
    first, second = kept("tool", [1], build), kept("tool", [1], build)
    assert first == second == home / f"tool-{key_of([1])}"
    assert (first / "file").read_text() == "x"
    assert is_kept("tool", [1])
    assert len(builds) == 1
    kept("tool", [2], build)
    assert len(builds) == 2


def test_failed_build_leaves_nothing_and_the_next_starts_afresh() -> None:
    def fail(target: Path) -> None:
        (target / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept("tool", [1], fail)
    assert not is_kept("tool", [1])
    target = kept("tool", [1], lambda directory: None)
    assert list(target.iterdir()) == []


def test_two_at_once_build_once() -> None:
    started, builds = threading.Barrier(2), []

    def build(target: Path) -> None:
        builds.append(target)
        threading.Event().wait(0.2)

    def ask() -> None:
        started.wait()
        kept("tool", [1], build)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
