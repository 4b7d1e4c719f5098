"""What a run tells the audit log: heard before it touches anything, and no hindrance from then on."""

from __future__ import annotations

import fcntl
import time
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.model.errors import Refused
from chaosext.model.verdict import Outcome, Verdict
from chaosext.run.session.audit_trail import Trail, table_on
from chaosext.safety import audit_log as audit_module
from chaosext.safety.audit_log import AuditEvent, audit_log, digest_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trail:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Trail(run="r1", owner="alice@laptop", context="kind-x", cluster_uid="0a1b")


def entries() -> list[dict[str, Any]]:
    chain = audit_log().verified()
    assert chain.fault is None
    return [dict(entry.says) for entry in chain.entries]


def test_each_entry_says_who_where_and_with_what(trail: Trail) -> None:
    trail.begin({"title": "t"})
    trail.require(AuditEvent.ARMING, **table_on("r1", ["cp-2", "cp-1"]))
    trail.end(Verdict(outcome=Outcome.DEVIATED, reasons=("secret",), rollback_verified=True))
    same = {
        "run": "r1",
        "owner": "alice@laptop",
        "context": "kind-x",
        "cluster_uid": "0a1b",
        "experiment_sha256": digest_of({"title": "t"}),
    }
    for entry in entries():
        assert same.items() <= entry.items()
    assert [entry["event"] for entry in entries()] == ["run_started", "arming", "run_ended"]
    assert (entries()[1]["nodes"], entries()[1]["tables"]) == (["cp-1", "cp-2"], ["inet chaosext_r1"])
    assert (entries()[2]["verdict"], entries()[2]["exit_code"]) == ("deviated, rollback verified", 10)
    assert "secret" not in audit_log().path.read_text()
    assert trail.problems == []
    last = audit_log().verified().entries[-1].end
    assert trail.last is not None
    assert (trail.last.seq, trail.last.hash) == (last.seq, last.hash)


def test_what_can_not_be_written_before_the_cut_refuses_it_and_after_it_is_a_problem(trail: Trail) -> None:
    audit_log().path.mkdir(parents=True)
    with pytest.raises(Refused, match="can't be written"):
        trail.begin({})
    trail.note(AuditEvent.HEALED)
    (problem,) = trail.problems
    assert problem.startswith(
        f"not in the audit log: healed: the audit log {audit_log().path} can't be written"
    )
    assert trail.last is None


def test_a_log_that_is_held_by_a_process_that_was_stopped_holds_up_no_heal(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "NOTE_S", 0.2)
    trail.begin({})
    with audit_log().path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        started_s = time.monotonic()
        trail.note(AuditEvent.HEALED)
        assert time.monotonic() - started_s < 1
    assert len(trail.problems) == 1
    assert "healed" in trail.problems[0]


def test_a_disk_that_hangs_holds_up_no_heal(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "NOTE_S", 0.1)
    monkeypatch.setattr(audit_module.AuditLog, "append", lambda *_, **__: time.sleep(1))
    started_s = time.monotonic()
    trail.note(AuditEvent.HEALED)
    assert time.monotonic() - started_s < 0.9
    assert trail.problems == [
        f"not in the audit log: healed: the log {audit_log().path} did not take it within 0.1 s"
    ]
