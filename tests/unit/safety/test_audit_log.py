"""The audit log on a disk: chained across processes, whole after any crash, refused where it can't be written."""

from __future__ import annotations

import fcntl
import json
import os
import random
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaosext.model.errors import Inconclusive, Refused
from chaosext.safety.audit_log import AuditEvent, AuditLog, Deed, digest_of, lost_receipt, receipt_in
from chaosext.safety.hash_chain import NOTHING, Wrong


def deed(run: str = "r1", event: AuditEvent = AuditEvent.ARMED) -> Deed:
    return Deed(event=event, owner="alice@laptop", run=run, context="kind-x", nodes=("cp-1",), exit_code=0)


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "state" / "audit.jsonl")


def whole(log: AuditLog) -> int:
    """How many entries a chain without a fault has."""
    chain = log.verified()
    assert chain.fault is None
    return len(chain.entries)


def test_what_was_done_is_read_back_chained(log: AuditLog) -> None:
    first, second = log.append(deed("r1")), log.append(deed("r2"))
    entries = [entry.says for entry in log.verified().entries]
    assert [entry["run"] for entry in entries] == ["r1", "r2"]
    assert [entry["seq"] for entry in entries] == [first.seq, second.seq] == [1, 2]
    assert entries[1]["prev"] == first.hash
    assert entries[0]["nodes"] == ["cp-1"]
    assert entries[0]["exit_code"] == 0
    assert entries[0]["at"].endswith("+00:00")
    assert "pods" not in entries[0]
    for path in (log.path, log.head_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_hash_is_that_of_the_line_without_its_last_member(log: AuditLog) -> None:
    receipt = log.append(deed())
    body, _, rest = log.path.read_text().rstrip("\n").rpartition(',"hash":')
    sums = subprocess.run(["sha256sum"], input=body + "}", text=True, capture_output=True, check=True)
    assert sums.stdout.split()[0] == receipt.hash == json.loads(rest.removesuffix("}"))


def test_a_line_is_on_disk_before_its_head_and_both_before_append_returns(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(deed())
    synced: list[str] = []
    fsync = os.fsync

    def recording(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", recording)
    log.append(deed())
    assert [name.partition(".json.")[0].lstrip(".") for name in synced] == [
        "audit.jsonl",
        "audit.head",
        "state",
    ]


WRITER = """
import sys
import time
from pathlib import Path
from chaosext.safety.audit_log import AuditLog, Deed, AuditEvent
for number in range(15):
    AuditLog(Path(sys.argv[1])).append(Deed(event=AuditEvent.ARMED, owner="o", run=sys.argv[2] + str(number)))
"""


def test_processes_at_the_same_moment_make_one_chain(log: AuditLog) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(log.path), name]) for name in ("a", "b", "c", "d")
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert whole(log) == 60
    runs = [entry.says["run"] for entry in log.verified().entries]
    assert [run for run in runs if run[0] == "b"] == [f"b{number}" for number in range(15)]


ENDLESS = WRITER.replace("range(15)", "range(10**9)")


def test_processes_that_are_killed_while_they_write_leave_a_whole_chain(log: AuditLog) -> None:
    chance = random.Random(12)
    for _ in range(4):
        writers = [subprocess.Popen([sys.executable, "-c", ENDLESS, str(log.path), name]) for name in "ab"]
        count = whole(log)
        while whole(log) < count + 10:
            assert all(writer.poll() is None for writer in writers), "a writer ended by itself"
            time.sleep(0.01)
        for writer in writers:
            time.sleep(chance.uniform(0, 0.05))
            writer.kill()
            writer.wait()
    log.append(deed())
    assert whole(log) > 40


@pytest.mark.parametrize(
    "head",
    [
        "[]",
        "null",
        "3",
        "[" * 100_000,
        '{"seq": -1, "hash": "", "size": 0}',
        '{"seq": 1e999}',
        '{"seq": true}',
        "{",
    ],
)
def test_whatever_the_head_file_holds_it_is_read_or_found_broken(log: AuditLog, head: str) -> None:
    log.append(deed())
    log.head_path.write_text(head)
    assert log.verified().fault is not None
    with pytest.raises(Refused, match="audit verify"):
        log.append(deed())


def states_of_a_crash(log: AuditLog, third: Deed) -> list[tuple[bytes, bytes]]:
    """Log and head after a crash at any byte of the third append: the line grows, then the head is replaced."""
    before, head_before = log.path.read_bytes(), log.head_path.read_bytes()
    log.append(third)
    after, head_after = log.path.read_bytes(), log.head_path.read_bytes()
    growing = [(after[:end], head_before) for end in range(len(before), len(after) + 1)]
    return [*growing, (after, head_after)]


def test_a_crash_at_any_byte_leaves_a_chain_that_is_whole_and_goes_on(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _handle: None)  # what is on the disk is set here, byte by byte
    log.append(deed("r1"))
    log.append(deed("r2"))
    acknowledged = 2
    for text, head in states_of_a_crash(log, deed("r3")):
        log.path.write_bytes(text)
        log.head_path.write_bytes(head)
        assert whole(log) >= acknowledged
        log.append(deed("r4"))
        assert [entry.says["run"] for entry in log.verified().entries if "run" in entry.says][-1] == "r4"
        assert whole(log) >= acknowledged + 1


def test_a_crash_while_a_torn_line_is_accounted_for_is_accounted_for_as_well(log: AuditLog) -> None:
    log.append(deed("r1"))
    for _ in range(3):
        with log.path.open("ab") as file:
            file.write(b'\n{"seq":2,"pr' if log.verified().torn else b'{"seq":2,"pr')
    assert whole(log) == 1
    log.append(deed("r2"))
    assert [entry.says["event"] for entry in log.verified().entries] == ["armed", "torn", "armed"]
    assert whole(log) == 3


def test_a_torn_line_that_was_accounted_for_can_not_be_changed_later(log: AuditLog) -> None:
    log.append(deed("r1"))
    with log.path.open("ab") as file:
        file.write(b'{"seq":2,"prev"')
    log.append(deed("r2"))
    text = log.path.read_bytes()
    for changed in (text.replace(b'"prev"\n', b'"prex"\n'), text.replace(b'{"seq":2,"prev"\n', b"")):
        assert changed != text
        log.path.write_bytes(changed)
        fault = log.verified().fault
        assert fault is not None
        assert fault.line == 2


def test_a_log_cut_off_at_its_end_is_truncated_and_refused_before_a_cut(log: AuditLog) -> None:
    for number in range(3):
        log.append(deed(f"r{number}"))
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:2]))
    fault = log.verified().fault
    assert fault is not None
    assert (fault.line, fault.what) == (3, Wrong.TRUNCATED)
    with pytest.raises(Refused, match="does not end as it should"):
        log.append(deed())
    log.path.unlink()
    assert log.verified().fault is not None


def test_a_head_that_is_missing_or_no_head_is_no_proof(log: AuditLog) -> None:
    log.append(deed("r1"))
    log.append(deed("r2"))
    log.head_path.write_text("{}")
    assert log.verified().fault is not None
    with pytest.raises(Refused, match="audit verify"):
        log.append(deed())
    log.head_path.unlink()
    fault = log.verified().fault
    assert fault is not None
    assert fault.what is Wrong.TRUNCATED
    with pytest.raises(Refused, match="audit verify"):
        log.append(deed())


@pytest.mark.parametrize("entries", [1, 2, 3])
def test_a_log_cut_to_its_first_entry_is_broken_with_its_head_or_without(log: AuditLog, entries: int) -> None:
    for number in range(entries):
        log.append(deed(f"r{number}"))
    first = log.path.read_bytes().splitlines(keepends=True)[0]
    log.path.write_bytes(first)
    if entries > 1:
        assert log.verified().fault is not None
    log.head_path.unlink()
    fault = log.verified().fault
    assert fault is not None
    assert (fault.line, fault.what) == (2, Wrong.TRUNCATED)
    with pytest.raises(Refused, match="audit verify"):
        log.append(deed())


def test_a_log_begins_with_its_head(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it crashes on its first entry, the next one goes on, and no log with an entry is without a head."""
    write = os.write

    def dies(handle: int, data: bytes) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            log.append(deed("r1"))
    assert json.loads(log.head_path.read_text()) == {"seq": 0, "hash": NOTHING, "size": 0}
    assert whole(log) == 0
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda handle, data: write(handle, data[:20]))
        with pytest.raises(Refused):
            log.append(deed("r1"))
    log.append(deed("r2"))
    assert whole(log) == 2  # what was torn is accounted for


def test_where_nothing_was_written_nothing_is_wrong(log: AuditLog) -> None:
    assert whole(log) == 0


@pytest.mark.parametrize("way", ["directory", "full"])
def test_what_can_not_be_written_is_refused(
    log: AuditLog, way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if way == "directory":
        (tmp_path / "state").write_text("in the way")
    else:
        monkeypatch.setattr(os, "write", lambda handle, data: len(data) // 2)
    with pytest.raises(Refused, match="can't be written"):
        log.append(deed())


def test_a_log_that_can_not_be_read_is_not_a_whole_one(tmp_path: Path) -> None:
    with pytest.raises(Inconclusive, match="can't be read"):
        AuditLog(tmp_path).verified()


def test_who_keeps_the_log_locked_is_not_waited_for_long(log: AuditLog) -> None:
    log.append(deed())
    with log.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="kept it locked"):
            log.append(deed(), wait_s=0.05)
    assert whole(log) == 1


def test_a_digest_is_that_of_the_content_not_of_its_spelling() -> None:
    one = {"title": "t", "method": [{"name": "a", "pauses": {"after": 1}}], 1: {"b", "a"}}
    other = {1: {"a", "b"}, "method": [{"pauses": {"after": 1}, "name": "a"}], "title": "t"}
    assert digest_of(one) == digest_of(other) != digest_of({**one, "title": "u"})
    assert digest_of({"title": "t"}) == "fd32f01954a82d8192431bf0c8d2fe22d8c10a9d62a1f4aad96228b065e6cc65"


def test_a_result_keeps_what_shows_that_a_log_was_exchanged(log: AuditLog, tmp_path: Path) -> None:
    receipt, result = log.append(deed()), tmp_path / "result.json"
    result.write_text(json.dumps({"audit": receipt.to_json()}))
    assert lost_receipt(log.verified(), receipt_in(result)) == ""
    log.path.unlink()
    log.head_path.unlink()
    assert lost_receipt(log.verified(), receipt_in(result)) == "entry 1 is not in the log"
    log.append(deed("another"))
    assert lost_receipt(log.verified(), receipt_in(result)) == "entry 1 is another one in the log"
    result.write_text('{"audit": null}')
    assert lost_receipt(log.verified(), receipt_in(result)) == "that run's last entry could not be written"
    result.write_text("{}")
    with pytest.raises(Refused, match="not the result of a run"):
        receipt_in(result)
