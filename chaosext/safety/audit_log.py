"""The audit log: who did what, where, and with which experiment. Append-only, hash-chained, synced line by line.

It cannot contain secrets: only the fields of `Deed` are written.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

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
from chaosext.model.poll import poll
from chaosext.safety.hash_chain import Chain, ChainHead, Fault, Wrong, account_for, link, read, verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LOCK_S = 5.0
"""Seconds to wait for other processes to finish their entries; each takes a few milliseconds."""

NOTE_S = 1.0
"""Seconds that a completed action waits for its entry: a heal must not hang on a disk or on a suspended process."""

_RETRY_S = 0.01

LOG_BYTES = 256 << 20
"""A run writes about 4 KiB, so this is enough for 60,000 runs."""


class AuditEvent(StrEnum):
    """The logged actions.

    `placing_pods`, `placing_sentinels`, `arming`, `deleting_pods` and `draining` are logged before the
    action, all others after it.
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
    """An action, its author (`owner`: user@host), its place, and what was touched. Unknown fields stay empty.

    `experiment_sha256`: as returned by `digest_of`. `approval_sha256`: as returned by `approval_digest`
    (safety/approvals.py). `cluster_uid`: of the namespace kube-system. `at_entry`: load balancer and cluster,
    as `ENTRY/CLUSTER`.
    """

    event: AuditEvent
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
        """Omits empty fields."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value not in ("", (), None)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that an entry was made: its number in the log, and its hash."""

    seq: int
    hash: str

    def to_json(self) -> dict[str, Any]:
        return {"seq": self.seq, "hash": self.hash}


def receipt_in(result: Path) -> Receipt | None:
    """Read the receipt from a run's result.json; None if that run could not log its end.

    Raises `Refused` if the file is not a result.json.
    """
    try:
        kept = parse_json(read_file(result, most=JSON_BYTES))["audit"]
        return msgspec.convert(kept, Receipt | None)
    except (OSError, *MALFORMED) as error:
        problem = getattr(error, "strerror", None) or type(error).__name__
        raise Refused(f"{result}: not the result of a run ({problem})", "give a run's result.json") from None


def lost_receipt(chain: Chain, receipt: Receipt | None) -> str:
    """Why `chain` lacks the entry of `receipt` ("": it has it)."""
    if receipt is None:
        return "that run's last entry could not be written"
    found = next((entry.end.hash for entry in chain.entries if entry.seq == receipt.seq), None)
    if found == receipt.hash:
        return ""
    return f"entry {receipt.seq} is " + ("not in the log" if found is None else "another one in the log")


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The log at `path`, and next to it its head: number and hash of the last entry, which reveal a truncated log.

    A log without its head is broken, whatever its length. Both could be removed or reset: only receipts kept
    elsewhere reveal that (`lost_receipt`).
    """

    path: Path

    @property
    def exists(self) -> bool:
        """Whether the log or its head exists."""
        return self.path.exists() or self.head_path.exists()

    @property
    def head_path(self) -> Path:
        return self.path.with_suffix(".head.json")

    def append(self, deed: Deed, *, wait_s: float = LOCK_S) -> Receipt:
        """Append `deed`; it is on disk on return. Concurrent processes extend the same chain.

        Raises `Refused` if it cannot be written, or if the end of the log contradicts its head.
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
        """Read and verify the whole log. Raises `Inconclusive` if it cannot be read."""
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

    def _settled_head(self, handle: int) -> ChainHead:
        """The head, after accounting for what a crashed process left behind it."""
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

    def _account_for(self, handle: int, head: ChainHead, torn: bytes) -> ChainHead:
        end = b"" if torn.endswith(b"\n") else b"\n"
        torn += end
        behind = ChainHead(seq=head.seq, hash=head.hash, size=head.size + len(torn))
        return self._write(handle, behind, {"at": _now(), **account_for(torn)}, first=end)

    def _write(
        self, handle: int, head: ChainHead, says: Mapping[str, Any], *, first: bytes = b""
    ) -> ChainHead:
        line, head = link(says, head)
        write_all(handle, first + line)
        os.fsync(handle)
        self._keep(head)
        return head

    def _keep(self, head: ChainHead) -> None:
        """Write the head. The line is on disk first, so after a crash the head may be one entry behind, never ahead."""
        write_whole(self.head_path, json.dumps(head.to_json()) + "\n", fsync=True, mode=OWNER_ONLY)

    def _head(self) -> ChainHead | None:
        """Read the head; None without a file. Raises ValueError for an invalid file."""
        try:
            return ChainHead.from_json(parse_json(read_file(self.head_path)))
        except FileNotFoundError:
            return None
        except AttributeError as error:
            raise ValueError from error

    def _head_or_begin(self, handle: int) -> ChainHead:
        """Read the head. For an empty log, write one before the first entry, so that a log always has a head."""
        try:
            head = self._head()
        except ValueError:
            raise self._broken(None) from None
        if head is not None:
            return head
        if os.fstat(handle).st_size:
            raise self._broken(None)
        self._keep(ChainHead())
        return ChainHead()

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
    """Log a completed action without ever undoing, delaying or failing it. Returns the error if logging fails."""
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
    """SHA-256 (hex) of an experiment as canonical JSON: sorted keys, no spaces, ASCII.

    So the digest is the same for YAML and JSON, and under `chaosext run` and `chaos run`.
    """
    text = json.dumps(_sortable(experiment), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _sortable(value: Any) -> Any:
    """Convert keys to strings and sets to lists: YAML allows more key types, and sets, than JSON."""
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
    """Open the log for appending under an exclusive lock. Raises OSError (TimeoutError after `wait_s`)."""
    handle = open_to_append(path, mode=OWNER_ONLY)
    try:
        with _flocked(handle, fcntl.LOCK_EX, wait_s):
            yield handle
    finally:
        os.close(handle)


@contextmanager
def _flocked(handle: int, how: int, wait_s: float) -> Iterator[None]:
    """Hold a lock that ends with its process, however that ends (flock(2))."""
    if not poll(lambda: _try_flock(handle, how), within_s=wait_s, every_s=_RETRY_S):
        raise TimeoutError(f"another process kept it locked for {wait_s:g} s")
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
