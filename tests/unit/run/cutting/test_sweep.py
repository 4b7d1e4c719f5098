"""Sweeping the intent log: what the dead left is healed, the living are left alone, and no run is stuck for ever."""

from __future__ import annotations

import os
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.cli.main import invoke
from chaosext.model.errors import Refused, Unsafe
from chaosext.partition.reports import HealedNode, HealReport
from chaosext.run.cutting import fault
from chaosext.run.cutting.sweep import Swept, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TTL_S = 60


@pytest.fixture
def missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The nodes that don't answer; all others are seen healed."""
    names: set[str] = set()

    def heal(run: str, shells: Mapping[str, Any]) -> HealReport:
        nodes = (
            HealedNode(node=name, gone=name not in names, problem="No such container" * (name in names))
            for name in shells
        )
        return HealReport(run=run, nodes=tuple(nodes), elapsed_s=0.4)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(fault, "heal", heal)
    return names


@pytest.fixture
def dead() -> int:
    done = subprocess.Popen(["true"])
    done.wait(timeout=10)
    return done.pid


@pytest.fixture
def living() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def intend(run: str, *nodes: str, pid: int, age_s: float = 0, host: str = "") -> None:
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    who = {"pid": pid, "host": host or socket.gethostname()}
    entry = {"at": at, "event": "intent", "run": run, "nodes": list(nodes), "ttl_s": TTL_S}
    fault.intent_log().write({**entry, **who})


def outstanding() -> list[str]:
    return [each.run for each in fault.intent_log().outstanding()]


def healed(swept: Swept) -> tuple[str, list[str]] | None:
    return (swept.run, [node.node for node in swept.report.nodes]) if swept.report else None


def test_what_the_dead_left_is_healed_once(missing: set[str], dead: int) -> None:
    intend("a", "n1", "n2", pid=dead)
    assert [healed(each) for each in sweep(None)] == [("a", ["n1", "n2"])]
    assert list(sweep(None)) == []


def test_a_run_that_is_alive_is_left_to_itself(missing: set[str], living: int) -> None:
    intend("a", "n1", pid=living)
    assert list(sweep(None)) == [Swept(run="a", report=None)]
    assert outstanding() == ["a"]


def test_a_run_that_is_named_is_healed_alive_or_not(missing: set[str], living: int) -> None:
    intend("a", "n1", pid=living)
    intend("b", "n1", pid=living)
    assert [healed(each) for each in sweep("a")] == [("a", ["n1"])]
    assert outstanding() == ["b"]


def test_whether_a_process_of_another_machine_lives_can_not_be_seen(missing: set[str], living: int) -> None:
    intend("a", "n1", pid=living, host="elsewhere")
    assert [healed(each) for each in sweep(None)] == [("a", ["n1"])]


def test_our_own_process_is_no_earlier_run(missing: set[str]) -> None:
    intend("a", "n1", pid=os.getpid())
    assert [healed(each) for each in sweep(None)] == [("a", ["n1"])]


def test_after_the_ttl_whoever_got_the_process_id_since_keeps_nothing(missing: set[str], living: int) -> None:
    intend("a", "n1", pid=living, age_s=100)
    assert [healed(each) for each in sweep(None)] == [("a", ["n1"])]


def test_within_the_ttl_a_node_that_does_not_answer_is_unsafe(missing: set[str], dead: int) -> None:
    missing.add("n1")
    intend("a", "n1", pid=dead)
    with pytest.raises(Unsafe, match=r"until .* at the latest"):
        list(sweep(None))
    assert outstanding() == ["a"]


def test_after_the_ttl_a_node_that_is_no_more_holds_nothing(missing: set[str], dead: int) -> None:
    missing.add("n1")
    intend("a", "n1", pid=dead, age_s=100)
    assert [healed(each) for each in sweep(None)] == [("a", ["n1"])]
    assert outstanding() == []


def test_an_intent_without_a_time_never_ends_by_itself(missing: set[str]) -> None:
    missing.add("n1")
    fault.intent_log().write({"event": "intent", "run": "a", "nodes": ["n1"]})
    with pytest.raises(Unsafe):
        list(sweep(None))


def test_a_node_may_be_named_whatever_the_log_says(missing: set[str]) -> None:
    assert [healed(each) for each in sweep("someotherrun", ["worker"])] == [("someotherrun", ["worker"])]
    with pytest.raises(Refused, match="--node"):
        list(sweep("someotherrun"))


def test_what_is_healed_is_told_before_what_is_left(
    missing: set[str], dead: int, living: int, capsys: pytest.CaptureFixture[str]
) -> None:
    missing |= {"n1", "n3"}
    intend("a", "n1", pid=dead)
    intend("b", "n2", pid=dead)
    intend("c", "n3", pid=dead, age_s=100)
    intend("d", "n4", pid=living)
    assert invoke(["heal"]) == 40
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "run b: seen gone on n2 after 0.40 s",
        "run c: n3 can't be asked, but the TTL is over",
        "run d: alive, so left to itself; `chaosext heal --run d` heals it all the same",
    ]
    assert "run a may still be in force on n1" in err


def test_nothing_to_heal_is_said(missing: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["heal"]) == 0
    assert capsys.readouterr().out == "nothing to heal\n"
