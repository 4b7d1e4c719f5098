from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from chaosext.model.errors import Inconclusive, Refused
from chaosext.safety.intent import IntentLog, outstanding, parse


def intent(run: str, *nodes: str) -> dict[str, Any]:
    return {"event": "intent", "run": run, "nodes": list(nodes), "ttl_s": 60}


def gone(run: str, *nodes: str) -> dict[str, Any]:
    return {"event": "gone", "run": run, "nodes": list(nodes)}


def left(*entries: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.run, each.nodes) for each in outstanding(entries)]


def test_what_was_intended_is_outstanding_until_it_was_seen_gone_everywhere() -> None:
    assert left() == []
    assert left(intent("a", "n1", "n2")) == [("a", ("n1", "n2"))]
    assert left(intent("a", "n1", "n2"), gone("a", "n1")) == [("a", ("n2",))]
    assert left(intent("a", "n1", "n2"), gone("a", "n1"), gone("a", "n2")) == []
    assert left(intent("a", "n1"), intent("b", "n1"), gone("b", "n1")) == [("a", ("n1",))]


def test_a_run_that_cuts_again_after_its_heal_is_outstanding_again() -> None:
    assert left(intent("a", "n1"), gone("a", "n1"), intent("a", "n2")) == [("a", ("n2",))]


def test_gone_without_an_intent_and_events_of_other_kinds_change_nothing() -> None:
    armed = {"event": "armed", "run": "a", "nodes": ["n1"]}
    assert left(gone("a", "n1"), intent("a", "n1"), armed) == [("a", ("n1",))]


def test_what_was_written_is_read_back_by_another_log(tmp_path: Path) -> None:
    path = tmp_path / "state" / "intent.jsonl"
    IntentLog(path).write(intent("a", "n1"))
    IntentLog(path).write(gone("a", "n1"))
    IntentLog(path).write(intent("b", "n2"))
    (found,) = IntentLog(path).outstanding()
    assert (found.run, found.nodes, found.intent["ttl_s"]) == ("b", ("n2",), 60)
    assert found.intent["at"].endswith("+00:00")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_line_and_its_directory_are_on_disk_when_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def recording(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", recording)
    IntentLog(tmp_path / "intent.jsonl").write(intent("a", "n1"))
    assert synced == [str(tmp_path / "intent.jsonl"), str(tmp_path)]


def test_a_line_torn_by_a_crash_is_passed_over_and_the_next_one_is_whole(tmp_path: Path) -> None:
    log = IntentLog(tmp_path / "intent.jsonl")
    log.write(intent("a", "n1"))
    with log.path.open("a") as file:
        file.write('{"event": "intent", "run": "torn", "no')
    log.write(intent("b", "n2"))
    assert [entry.run for entry in log.outstanding()] == ["a", "b"]


@pytest.mark.parametrize("line", ["", "null", "3", "[]", '"x"', "{}", '{"event": "intent"}', "\x00\x00"])
def test_lines_that_are_no_entries_are_passed_over(line: str) -> None:
    assert parse(f"{line}\n{json.dumps(intent('a', 'n1'))}\n") == (intent("a", "n1"),)


def test_an_intent_that_can_not_be_written_refuses_the_cut(tmp_path: Path) -> None:
    blocked = IntentLog(tmp_path / "file" / "intent.jsonl")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refused, match="can't be written"):
        blocked.write(intent("a", "n1"))
    with pytest.raises(Inconclusive, match="can't be written"):
        blocked.write(gone("a", "n1"))


def test_a_log_that_can_not_be_read_is_not_an_empty_log(tmp_path: Path) -> None:
    assert IntentLog(tmp_path / "none.jsonl").outstanding() == ()
    with pytest.raises(Inconclusive):
        IntentLog(tmp_path).outstanding()
