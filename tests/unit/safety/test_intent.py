from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Refused
from chaosext.model.load_balancer_state import Failover
from chaosext.model.owner import me
from chaosext.model.paths import state_home
from chaosext.nodes.shell import NodeAccess
from chaosext.partition.apply import ARMING_S
from chaosext.safety.intent import (
    PODS,
    SENTINELS,
    Changed,
    IntentLog,
    Outstanding,
    changed,
    intent_log,
    outstanding,
    parse,
    placed,
    write_as_found,
    write_changing,
)


def intent(run: str, *nodes: str) -> dict[str, Any]:
    return {"event": "intent", "run": run, "nodes": list(nodes), "ttl_s": 60}


def gone(run: str, *nodes: str) -> dict[str, Any]:
    return {"event": "gone", "run": run, "nodes": list(nodes)}


def placing(run: str, context: str = "c1") -> dict[str, Any]:
    return {"event": "placing", "run": run, "nodes": [], "context": context}


def removed(run: str) -> dict[str, Any]:
    return {"event": "removed", "run": run, "nodes": []}


def left(*entries: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.run, each.nodes) for each in outstanding(entries)]


def test_what_was_intended_is_outstanding_until_it_was_seen_gone_everywhere() -> None:
    assert left() == []
    assert left(intent("a", "n1", "n2")) == [("a", ("n1", "n2"))]
    assert left(intent("a", "n1", "n2"), gone("a", "n1")) == [("a", ("n2",))]
    assert left(intent("a", "n1", "n2"), gone("a", "n1"), gone("a", "n2")) == []
    assert left(intent("a", "n1"), intent("b", "n1"), gone("b", "n1")) == [("a", ("n1",))]


def test_sentinels_are_placed_until_they_were_seen_gone() -> None:
    def there(*entries: dict[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
        return [(each.run, each.context, each.nodes) for each in placed(entries)]

    assert there() == []
    assert there(placing("a"), placing("b", "c2")) == [("a", "c1", ()), ("b", "c2", ())]
    assert there(placing("a"), removed("a")) == []
    assert there(removed("a"), placing("a")) == [("a", "c1", ())]
    assert there(placing("a"), placing("a", "c2"), removed("b")) == [("a", "c2", ())]
    assert there(intent("a", "n1"), gone("a", "n1")) == []


def test_placing_cuts_nothing_and_what_cuts_places_nothing() -> None:
    assert left(placing("a"), intent("b", "n1"), removed("b")) == [("b", ("n1",))]
    assert [each.run for each in placed([placing("a"), intent("b", "n1"), gone("a", "n1")])] == ["a"]
    (found,) = outstanding([intent("b", "n1")])
    assert found.context == ""


def test_a_run_that_cuts_again_after_its_heal_is_outstanding_again() -> None:
    assert left(intent("a", "n1"), gone("a", "n1"), intent("a", "n2")) == [("a", ("n2",))]


def test_a_second_cut_of_a_run_does_not_end_its_first() -> None:
    at = datetime.now(UTC).isoformat()
    long = {**intent("a", "n1"), **clock.now().to_json(), "at": at, "ttl_s": 300}
    short = {**long, "ttl_s": 1}
    for entries in ([long, short], [short, long], [long, gone("a", "n9"), short]):
        (found,) = outstanding(entries)
        assert found.intent["ttl_s"] == 300
    (found,) = outstanding([long, gone("a", "n1"), short])
    assert found.intent["ttl_s"] == 1
    (found,) = outstanding([intent("a", "n1"), long])
    assert found.let_go is None  # of one that doesn't say when nobody knows


def test_after_a_reboot_a_clock_that_is_ahead_ends_no_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some machines' clocks are hours ahead until they have heard of the time."""
    monkeypatch.setattr(clock, "uptime_s", lambda: 40.0)

    def let_go_in_s(ago: timedelta) -> float:
        at = (datetime.now(UTC) - ago).isoformat()
        (found,) = outstanding([{**intent("a", "n1"), "boot": "another", "uptime_s": 5, "at": at}])
        assert found.let_go is not None
        return -(found.let_go.age_s() or 0.0)

    assert let_go_in_s(timedelta(hours=2)) == pytest.approx(60 + ARMING_S - 40)
    assert let_go_in_s(timedelta(seconds=10)) == pytest.approx(60 + ARMING_S - 10, abs=1)


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


@pytest.mark.parametrize("there", [True, False])
def test_whether_it_can_be_written_is_asked_without_a_line(tmp_path: Path, there: bool) -> None:
    log = IntentLog(tmp_path / "a" / "b" / "intent.jsonl")
    if there:
        log.write(intent("a", "n1"))
    before = log.entries()
    log.require_writable()
    log.require_writable()
    assert log.entries() == before
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700


def test_a_log_that_can_not_be_written_is_refused_before_anything(tmp_path: Path) -> None:
    log = IntentLog(tmp_path / "intent.jsonl")
    log.path.mkdir()
    with pytest.raises(Refused) as refused:
        log.require_writable()
    assert refused.value.message.startswith(f"the intent log {log.path} can't be written (")
    assert refused.value.fix == "permit it"


def test_asking_leaves_no_file_open(tmp_path: Path) -> None:
    log = IntentLog(tmp_path / "intent.jsonl")
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        log.require_writable()
        log.write(gone("a", "n1"))
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


def test_intents_of_a_run_add_up() -> None:
    assert left(intent("a", "n1"), intent("a", "n2")) == [("a", ("n1", "n2"))]


@pytest.mark.parametrize(
    "change",
    [{"transport": 5}, {"transport": ""}, {"nodes": [1]}, {"nodes": "n1"}, {"run": True}, {"event": None}],
)
def test_what_can_not_have_been_written_is_passed_over(change: dict[str, Any]) -> None:
    assert parse(json.dumps({**intent("a", "n1"), **change})) == ()
    assert len(parse(json.dumps({**intent("a", "n1"), "transport": "netns"}))) == 1


def test_bytes_that_are_no_text_spoil_their_line_only(tmp_path: Path) -> None:
    log = IntentLog(tmp_path / "intent.jsonl")
    log.path.write_bytes(b"\xff\xfe\n")
    log.write(intent("a", "n1"))
    assert [entry["run"] for entry in log.entries()] == ["a"]


def test_a_whole_line_is_followed_by_the_next_without_a_gap(tmp_path: Path) -> None:
    log = IntentLog(tmp_path / "intent.jsonl")
    for _ in range(3):
        log.write(intent("a", "n1"))
    assert [bool(line) for line in log.path.read_text().split("\n")] == [True, True, True, False]


def test_the_file_is_opened_to_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To open it for reading would say nothing of a file system that is read-only."""
    flags: list[int] = []
    opened = os.open

    def spy(path: Path, asked: int, *mode: int, dir_fd: int | None = None) -> int:
        flags.append(asked)
        return opened(path, asked, *mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", spy)
    IntentLog(tmp_path / "intent.jsonl").require_writable()
    assert [(each & os.O_ACCMODE, bool(each & os.O_APPEND)) for each in flags[1:]] == [(os.O_RDWR, True)]


def test_what_is_wrong_with_the_log_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = IntentLog(tmp_path / "intent.jsonl")
    monkeypatch.setattr(os, "write", lambda *_: 3)
    kinds = (
        (intent("a", "n1"), Refused),
        (gone("a", "n1"), Inconclusive),
        (placing("a"), Refused),
        (removed("a"), Inconclusive),
    )
    for entry, kind in kinds:
        with pytest.raises(kind) as raised:
            log.write(entry)
        said = "[Errno 28] the disk took a part only"
        assert raised.value.message == f"the intent log {log.path} can't be written ({said})"
        assert raised.value.fix == "permit it"
    other = IntentLog(tmp_path)
    with pytest.raises(Inconclusive) as inconclusive:
        other.entries()
    assert inconclusive.value.message.startswith(f"the intent log {tmp_path} can't be read ([Errno")
    assert inconclusive.value.fix == "permit it"


def test_what_was_placed_is_told_apart_from_the_sentinels() -> None:
    def there(*entries: dict[str, Any]) -> list[tuple[str, str]]:
        return [(each.run, each.what) for each in placed(entries)]

    pods, gone_pods = {**placing("a"), "what": PODS}, {**removed("a"), "what": PODS}
    assert there(placing("a"), pods) == [("a", SENTINELS), ("a", PODS)]
    assert there(placing("a"), pods, removed("a")) == [("a", PODS)]
    assert there(placing("a"), pods, gone_pods) == [("a", SENTINELS)]


def test_the_way_into_its_nodes_is_told() -> None:
    told = {"context": "prod", "namespace": "chaos", "image": "img:1"}
    (by_docker,) = outstanding([{**intent("a", "n1"), **told}])
    assert (by_docker.way, by_docker.context, by_docker.namespace) == (NodeAccess(), "prod", "chaos")
    (netns,) = outstanding([{**intent("a", "n1"), "transport": "netns"}])
    assert netns.way == NodeAccess(transport="netns")
    (pod,) = outstanding([{**intent("a", "n1"), **told, "transport": "pod"}])
    assert pod.way == NodeAccess(transport="pod", **told)
    (untold,) = outstanding([{**intent("a", "n1"), "transport": "pod"}])
    assert untold.way == NodeAccess(transport="pod")


def written(**more: Any) -> Outstanding:
    at = {"at": datetime.now(UTC).isoformat(), **clock.now().to_json(), **me().to_json()}
    (found,) = outstanding([{**intent("a", "n1"), **at, **more}])
    return found


def test_a_run_whose_process_lives_and_whose_time_is_not_over_is_running() -> None:
    assert written().holder == me()
    assert written().is_running
    assert not written(ttl_s=-ARMING_S - 1).is_running
    assert written(ttl_s=-ARMING_S - 1).is_over
    assert not written(holder=str(replace(me(), pid=2**22 + 1))).is_running
    assert not written(holder="nobody").is_running
    assert written(holder="nobody").holder is None


@pytest.mark.parametrize(
    ("more", "is_sealed"),
    [
        ({"sealed": True}, True),
        ({"sealed": True, "ttl_s": 1}, True),
        ({"sealed": True, "ttl_s": -1}, False),
        ({"sealed": True, "ttl_s": "long"}, False),
        ({"sealed": 1}, False),
        ({}, False),
    ],
)
def test_nodes_are_sealed_until_the_cut_may_be_over(more: dict[str, Any], is_sealed: bool) -> None:
    assert written(**more).is_sealed is is_sealed


def test_a_log_that_is_larger_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = IntentLog(tmp_path / "intent.jsonl")
    log.write(intent("a", "n1"))
    monkeypatch.setattr("chaosext.safety.intent.LOG_BYTES", log.path.stat().st_size)
    assert len(log.entries()) == 1
    monkeypatch.setattr("chaosext.safety.intent.LOG_BYTES", log.path.stat().st_size - 1)
    with pytest.raises(Inconclusive, match="can't be read"):
        log.entries()


def test_the_log_is_among_what_this_user_keeps() -> None:
    assert intent_log().path == state_home() / "intent.jsonl"


EAST = Changed(run="r1", entry="edge", cluster="east", failover=Failover.BY_HAND)
WEST = Changed(run="r1", entry="edge", cluster="west")


def test_changes_at_load_balancers_are_kept_until_they_are_restored() -> None:
    intent_log().write(intent("r0", "cp1"))
    write_changing(EAST)
    intent_log().write(gone("r0", "cp1"))
    write_changing(WEST)
    assert changed(intent_log().entries()) == (EAST, WEST)
    kept = intent_log().entries()[1]
    expected = {"event": "entry_changing", "run": "r1", "nodes": [], "entry": "edge", "cluster": "east"}
    assert kept.items() >= {**expected, "failover": "by_hand"}.items()
    write_as_found(replace(EAST, run="r2"))  # whichever run restores it
    assert changed(intent_log().entries()) == (WEST,)
    write_as_found(WEST)
    assert changed(intent_log().entries()) == ()


def test_a_change_at_another_load_balancer_stays_one() -> None:
    other = replace(EAST, entry="inner")
    write_changing(EAST)
    write_changing(other)
    write_as_found(EAST)
    assert changed(intent_log().entries()) == (other,)


@pytest.mark.parametrize("kept", [{}, {"failover": "by magic"}, {"failover": None}, {"failover": []}])
def test_a_change_that_says_no_failover_was_by_health_check(kept: dict[str, Any]) -> None:
    entry = {"event": "entry_changing", "run": "r1", "nodes": [], "entry": "edge", "cluster": "east", **kept}
    assert changed([entry]) == (replace(EAST, failover=Failover.HEALTH_CHECK),)
