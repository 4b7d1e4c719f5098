"""The audit log: who did what, where, with which experiment. Append-only, hash-chained, each line on disk (fsync).

Nothing secret can get in: what is written are the fields of `Deed`, and no others.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.model.bounded_json import JSON_BYTES, parse_json
from chaosext.model.errors import MALFORMED, Inconclusive, Refused
from chaosext.model.files import (
    OWNER_ONLY,
    open_to_append,
    opened,
    read_file,
    read_opened,
    write_all,
    write_whole,
)
from chaosext.model.paths import state_home
from chaosext.safety.hash_chain import Chain, Fault, Head, Wrong, account_for, link, read, verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LOCK_S = 5.0
"""How long to wait for other processes' entries; each takes a few milliseconds."""

NOTE_S = 1.0
"""How long a deed that was done waits for its entry: no heal may hang on a disk, or on a process that was stopped."""

_RETRY_S = 0.01

LOG_BYTES = 256 << 20
"""A run writes about 4 KiB: 60,000 runs."""


class Event(StrEnum):
    """What is written down. Before the deed stand `placing_pods`, `placing_sentinels`, `arming`, `deleting_pods` and
    `draining`, after it all others.
    """

    PINNED = "pinned"
    APPROVED = "approved"
    APPROVAL_REVOKED = "approval_revoked"
    RUN_STARTED = "run_started"
    PLACING_PODS = "placing_pods"
    PODS_REMOVED = "pods_removed"
    PLACING_SENTINELS = "placing_sentinels"
    SENTINELS_REMOVED = "sentinels_removed"
    ARMING = "arming"
    ARMED = "armed"
    RENEWED = "renewed"
    HEALED = "healed"
    DELETING_PODS = "deleting_pods"
    PODS_DELETED = "pods_deleted"
    DRAINING = "draining"
    TAKEN_BACK = "taken_back"
    CLEANED_UP = "cleaned_up"
    RUN_ENDED = "run_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What was done, by whom (`owner`: user@host), where, and what was touched. What is not known stays empty.

    `experiment_sha256` as `digest_of` gives it, `approval_sha256` as `approval_digest` (safety/approval.py);
    `cluster_uid` is that of the namespace kube-system. `at_entry`: which cluster at which entry, as `ENTRY/CLUSTER`.
    """

    event: Event
    owner: str
    run: str = ""
    context: str = ""
    cluster_uid: str = ""
    experiment_sha256: str = ""
    approval_sha256: str = ""
    nodes: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    at_entry: str = ""
    verdict: str = ""
    exit_code: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Without what is empty."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value not in ("", (), None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What proves that an entry was made: its number in the log, and its hash."""

    seq: int
    hash: str

    def to_json(self) -> dict[str, Any]:
        return {"seq": self.seq, "hash": self.hash}


def receipt_in(result: Path) -> Receipt | None:
    """The receipt that a run's result.json keeps; None where that run could not write its end down.

    Raises `Refused` for what is no result.json.
    """
    try:
        kept = parse_json(read_file(result, most=JSON_BYTES))["audit"]
        return None if kept is None else Receipt(seq=int(kept["seq"]), hash=str(kept["hash"]))
    except (OSError, *MALFORMED) as error:
        problem = getattr(error, "strerror", None) or type(error).__name__
        raise Refused(f"{result}: not the result of a run ({problem})", "give a run's result.json") from None


def lost_receipt(chain: Chain, receipt: Receipt | None) -> str:
    """Why `chain` does not have the entry that `receipt` is for ("": it has it)."""
    if receipt is None:
        return "that run's last entry could not be written"
    found = next((entry.end.hash for entry in chain.entries if entry.seq == receipt.seq), None)
    if found == receipt.hash:
        return ""
    return f"entry {receipt.seq} is " + ("not in the log" if found is None else "another one in the log")


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The log at `path`, and beside it its head: the last entry's number and hash, which shows a cut-off end.

    A log of any length without its head is broken. Both can be removed, or put back to what they were: what shows that
    is kept elsewhere (`lost_receipt`).
    """

    path: Path

    @property
    def exists(self) -> bool:
        """Whether anything is there, be it the head alone."""
        return self.path.exists() or self.head_path.exists()

    @property
    def head_path(self) -> Path:
        return self.path.with_suffix(".head.json")

    def append(self, deed: Deed, *, wait_s: float = LOCK_S) -> Receipt:
        """Write `deed` down; it is on disk when this returns. Processes at the same moment make one chain.

        Raises `Refused` when it can't be written, or when the end of the log is not as its head says.
        """
        try:
            with _locked(self.path, wait_s) as handle:
                head = self._write(handle, self._settled_head(handle), {"at": _now(), **deed.to_json()})
        except OSError as error:
            raise Refused(
                f"the audit log {self.path} can't be written ({error})", "permit it, or make room for it"
            ) from error
        return Receipt(seq=head.seq, hash=head.hash)

    def verified(self) -> Chain:
        """The whole log, and what is wrong with it. Raises `Inconclusive` when it can't be read."""
        try:
            if not self.path.exists():
                return verify(b"", self._head())
            with opened(self.path) as file, _flocked(file.fileno(), fcntl.LOCK_SH, LOCK_S):
                return verify(read_opened(file, self.path, most=LOG_BYTES, within_s=LOCK_S), self._head())
        except ValueError:
            fault = Fault(
                line=0, what=Wrong.ALTERED, detail=f"{self.head_path} is not a head of an audit log"
            )
            return Chain(entries=(), fault=fault)
        except OSError as error:
            raise Inconclusive(f"the audit log {self.path} can't be read ({error})", "permit it") from error

    def _settled_head(self, handle: int) -> Head:
        """The head, after what a process that died has left behind it was accounted for."""
        head, size = self._head_or_begin(handle), os.fstat(handle).st_size
        tail = read(os.pread(handle, max(0, size - head.size), head.size), after=head)
        if size < head.size or tail.fault or len(tail.entries) > 1:
            raise self._broken(tail.fault)
        if tail.unended:
            write_all(handle, b"\n")
        if tail.entries:
            head = tail.entries[0].end
            self._keep(head)
        return self._account_for(handle, head, tail.torn) if tail.torn else head

    def _account_for(self, handle: int, head: Head, torn: bytes) -> Head:
        end = b"" if torn.endswith(b"\n") else b"\n"
        torn += end
        behind = Head(seq=head.seq, hash=head.hash, size=head.size + len(torn))
        return self._write(handle, behind, {"at": _now(), **account_for(torn)}, first=end)

    def _write(self, handle: int, head: Head, says: Mapping[str, Any], *, first: bytes = b"") -> Head:
        line, head = link(says, head)
        write_all(handle, first + line)
        os.fsync(handle)
        self._keep(head)
        return head

    def _keep(self, head: Head) -> None:
        """The line is on disk before its head is: after a crash the head may be one behind, never before."""
        write_whole(self.head_path, json.dumps(head.to_json()) + "\n", fsync=True, mode=OWNER_ONLY)

    def _head(self) -> Head | None:
        """Raises ValueError for a file that is no head."""
        try:
            return Head.from_json(parse_json(read_file(self.head_path)))
        except FileNotFoundError:
            return None
        except AttributeError as error:
            raise ValueError from error

    def _head_or_begin(self, handle: int) -> Head:
        """The head; that of an empty log is written before its first entry, so that none is ever without one."""
        try:
            head = self._head()
        except ValueError:
            raise self._broken(None) from None
        if head is not None:
            return head
        if os.fstat(handle).st_size:
            raise self._broken(None)
        self._keep(Head())
        return Head()

    def _broken(self, fault: Fault | None) -> Refused:
        detail = f" ({fault})" if fault else ""
        return Refused(
            f"the audit log {self.path} does not end as it should{detail}",
            "run `chaosext audit verify`; to start a new log, move this one and its head file elsewhere and keep them",
        )


def audit_log() -> AuditLog:
    """This user's log, `audit.jsonl` in `state_home()`."""
    return AuditLog(state_home() / "audit.jsonl")


def note(deed: Deed) -> Receipt | str:
    """Write down what was done already: nothing is undone, held up or failed for it. What is wrong, where it fails."""
    answers: list[Receipt | str] = []

    def write() -> None:
        try:
            answers.append(audit_log().append(deed, wait_s=NOTE_S))
        except Refused as error:
            answers.append(error.message)

    writing = threading.Thread(target=write, name="audit", daemon=True)
    writing.start()
    writing.join(NOTE_S)
    return answers[0] if answers else f"the log {audit_log().path} did not take it within {NOTE_S:g} s"


def digest_of(experiment: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of an experiment as canonical JSON: keys sorted, no blanks, ASCII.

    So it is the same for the same experiment in YAML and in JSON, under `chaosext run` and under `chaos run`.
    """
    text = json.dumps(_sortable(experiment), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _sortable(value: Any) -> Any:
    """YAML knows keys of all kinds, and sets; JSON does not."""
    match value:
        case dict():
            return {str(key): _sortable(each) for key, each in value.items()}
        case list() | tuple():
            return [_sortable(each) for each in value]
        case set():
            return sorted(map(str, value))
    return value


@contextmanager
def _locked(path: Path, wait_s: float) -> Iterator[int]:
    """The log, open for appending, and nobody else's meanwhile. Raises OSError (TimeoutError after `wait_s`)."""
    handle = open_to_append(path, mode=OWNER_ONLY)
    try:
        with _flocked(handle, fcntl.LOCK_EX, wait_s):
            yield handle
    finally:
        os.close(handle)


@contextmanager
def _flocked(handle: int, how: int, wait_s: float) -> Iterator[None]:
    """The lock ends with its holder, however that ends (flock(2))."""
    deadline_s = time.monotonic() + wait_s
    while not _try_flock(handle, how):
        if time.monotonic() >= deadline_s:
            raise TimeoutError(f"another process kept it locked for {wait_s:g} s")
        time.sleep(_RETRY_S)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


def _try_flock(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
