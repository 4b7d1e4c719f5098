"""The intent log: every planned cut is on disk before its first rule, for a cleanup after a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chaosext.model import clock
from chaosext.model.bounded_json import parse_json
from chaosext.model.clock import Moment
from chaosext.model.errors import Inconclusive, Refused
from chaosext.model.files import OWNER_ONLY, append, open_to_append, read_file
from chaosext.model.load_balancer_state import Failover
from chaosext.model.owner import Holder, me
from chaosext.model.paths import state_home
from chaosext.nodes.shell import DEFAULT, POD, NodeAccess
from chaosext.partition.apply import ARMING_S

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

INTENT = "intent"
"""Event: a cut is about to be armed. Contains `nodes`, and everything else that helps a cleanup."""

GONE = "gone"
"""Event: the run's table was confirmed as removed on `nodes`, or has expired at its TTL."""

PLACING = "placing"
"""Event: `what` is about to be created on the cluster of `context`. It cuts nothing, so `nodes` is empty."""

REMOVED = "removed"
"""Event: the run's `what` was confirmed as removed."""

SENTINELS, PODS = "sentinels", "pods"
"""What is created: sentinels (the default of an entry), or the Pods for entering nodes."""

LOG_BYTES = 256 << 20
"""A run writes about 1 KiB, so this is enough for more runs than any runner will do."""

Entry = Mapping[str, Any]
"""One line: `{"at": "2026-10-02T12:00:00+00:00", "event": "intent", "run": "…", "nodes": ["…"], …}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outstanding:
    """A run that planned a cut, and the nodes on which its table is not yet confirmed as removed."""

    run: str
    nodes: tuple[str, ...]
    intent: Entry

    @property
    def way(self) -> NodeAccess:
        """How its nodes are entered."""
        transport = self._told("transport", DEFAULT)
        if transport != POD:
            return NodeAccess(transport=transport)
        image = self._told("image")
        return NodeAccess(transport=POD, context=self.context, namespace=self.namespace, image=image)

    @property
    def what(self) -> str:
        """What was created."""
        return what_of(self.intent)

    @property
    def context(self) -> str:
        """The context of its cluster; "" if not recorded."""
        return self._told("context")

    @property
    def namespace(self) -> str:
        """The namespace of its Pods, if it has any."""
        return self._told("namespace")

    @property
    def let_go(self) -> Moment | None:
        """When its rules have expired on every node, whatever has died; None if not recorded."""
        return _let_go(self.intent)

    @property
    def holder(self) -> Holder | None:
        """The process that planned the cut; None if not recorded."""
        try:
            return Holder.from_json(self.intent)
        except (KeyError, ValueError):
            return None

    def _told(self, key: str, otherwise: str = "") -> str:
        return str(self.intent.get(key, otherwise))

    @property
    def is_over(self) -> bool:
        """Whether its rules are known to have expired on every node."""
        return clock.is_over(self.let_go)

    @property
    def is_sealed(self) -> bool:
        """Whether its nodes cannot be entered yet by any process, because only the kernel's timeout ends the cut.

        False from the earliest moment at which the cut may have ended: from then on, trying is worthwhile.
        """
        if self.intent.get("sealed") is not True or self.let_go is None:
            return False
        return not clock.is_over(self.let_go.later(-ARMING_S))

    @property
    def is_running(self) -> bool:
        """Whether its process may be alive and the cut active: then that process heals it."""
        return not self.is_over and self.holder is not None and not self.holder.is_dead


@dataclass(frozen=True, slots=True)
class IntentLog:
    """An append-only file of JSON lines, each of which is on disk (fsync) when `write` returns."""

    path: Path

    def write(self, entry: Entry) -> None:
        """Append `entry`, which has `event`, `run` and `nodes`; adds `at` (UTC), the boot clock and the holder.

        Raises `Refused` if an intent cannot be written: then nothing may be cut or created. For any other
        event, which has already happened, it raises `Inconclusive`.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, **clock.now().to_json(), **me().to_json(), **entry}) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            append(self.path, line, fsync=True, mode=OWNER_ONLY)
        except OSError as error:
            kind = Refused if entry["event"] in (INTENT, PLACING) else Inconclusive
            raise kind(f"the intent log {self.path} can't be written ({error})", "permit it") from error

    def require_writable(self) -> None:
        """Raise `Refused` if the log cannot be appended to. Appends nothing."""
        try:
            os.close(open_to_append(self.path, mode=OWNER_ONLY))
        except OSError as error:
            raise Refused(f"the intent log {self.path} can't be written ({error})", "permit it") from error

    def entries(self) -> tuple[Entry, ...]:
        """All entries, oldest first; empty without a file. Raises `Inconclusive` if the file cannot be read."""
        try:
            return parse(read_file(self.path, most=LOG_BYTES).decode(errors="replace"))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Inconclusive(f"the intent log {self.path} can't be read ({error})", "permit it") from error

    def outstanding(self) -> tuple[Outstanding, ...]:
        """The runs with an intent that are not yet confirmed as removed everywhere, oldest first."""
        return outstanding(self.entries())


def intent_log() -> IntentLog:
    """This user's intent log: planned cuts with their place and duration, and confirmed removals."""
    return IntentLog(state_home() / "intent.jsonl")


def parse(text: str) -> tuple[Entry, ...]:
    """Parse the entries of a log.

    Skips a line truncated by a crash: its `write` had not returned, so no rule had followed it.
    """
    entries = (_entry(line) for line in text.split("\n"))
    return tuple(entry for entry in entries if entry is not None)


def outstanding(entries: Iterable[Entry]) -> tuple[Outstanding, ...]:
    """The runs with an intent, and the nodes on which they are not confirmed as removed since."""
    intents: dict[str, Entry] = {}
    nodes: dict[str, set[str]] = {}
    for entry in entries:
        run, named = entry["run"], set(entry["nodes"])
        if entry["event"] == INTENT:
            intents[run] = _longest([intents[run], entry]) if nodes.get(run) else entry
            nodes[run] = nodes.get(run, set()) | named
        elif entry["event"] == GONE and run in nodes:
            nodes[run] -= named
    return tuple(
        Outstanding(run=run, nodes=tuple(sorted(nodes[run])), intent=intent)
        for run, intent in intents.items()
        if nodes[run]
    )


def placed(entries: Iterable[Entry]) -> tuple[Outstanding, ...]:
    """The runs that created something on the cluster of their context that is not confirmed as removed since."""
    placings: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if entry["event"] == PLACING:
            placings[entry["run"], what_of(entry)] = entry
        elif entry["event"] == REMOVED:
            placings.pop((entry["run"], what_of(entry)), None)
    return tuple(Outstanding(run=run, nodes=(), intent=entry) for (run, _), entry in placings.items())


def what_of(entry: Entry) -> str:
    """What an entry says was created or removed."""
    return str(entry.get("what", SENTINELS))


def _entry(line: str) -> Entry | None:
    try:
        entry = parse_json(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and _is_whole(entry) else None


def _is_whole(entry: Entry) -> bool:
    """Whether `write` may have written it: the fields that identify the run and its nodes exist, as texts."""
    nodes = entry.get("nodes")
    texts = [entry.get("event"), entry.get("run"), entry.get("transport", DEFAULT)]
    return isinstance(nodes, list) and all(isinstance(text, str) and text for text in (*texts, *nodes))


def _longest(intents: Iterable[Entry]) -> Entry:
    """Return the intent of a run that may last longest: a second cut of a run does not end its first one."""
    return max(intents, key=lambda each: (_let_go(each) is None, _let_go(each) or clock.now()))


def _let_go(intent: Entry) -> Moment | None:
    try:
        return _written(intent).later(ARMING_S + intent["ttl_s"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _written(entry: Entry) -> Moment:
    """The latest moment at which it was written, by the boot clock, which cannot be set.

    After a reboot, or on another machine, the wall clock is used. Because a clock that is not yet
    synchronized may be hours ahead, the result is never before this boot.
    """
    moment = Moment.from_json(entry)
    if moment.age_s() is not None:
        return moment
    return max(clock.at_wall_clock(datetime.fromisoformat(entry["at"])), clock.booted())


CHANGING = "entry_changing"
"""Event: a cluster is about to be drained from a load balancer, or left to operators. Has `entry` and `cluster`."""

AS_FOUND = "entry_as_found"
"""Event: the load balancer treats the cluster again as before the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A cluster whose state at a load balancer a run changed and did not restore. `failover`: its setting before."""

    run: str
    entry: str
    cluster: str
    failover: Failover = Failover.HEALTH_CHECK

    @property
    def said(self) -> str:
        """What is left, and how to restore it."""
        return f"run {self.run} has left cluster {self.cluster} drained from the load balancer {self.entry}: {self.fix}"

    @property
    def fix(self) -> str:
        """How to restore it."""
        return (
            f"once it is healthy, run `chaosext failover restore {self.cluster} --load-balancer {self.entry}`"
        )


def write_changing(change: Changed) -> None:
    """Record the change. Raises `Inconclusive` if it cannot be written: then nothing may be changed."""
    _write(CHANGING, change)


def write_as_found(change: Changed) -> None:
    """Record the restoration. Raises `Inconclusive` if it cannot be written."""
    _write(AS_FOUND, change)


def changed(entries: Iterable[Entry]) -> tuple[Changed, ...]:
    """The changes at load balancers that were not restored, oldest first. Pure."""
    found: dict[Changed, None] = {}
    for entry in entries:
        if entry["event"] not in (CHANGING, AS_FOUND):
            continue
        change = _read(entry)
        if entry["event"] == CHANGING:
            found[change] = None
        else:  # whichever run restored it, it is no longer changed
            found = {
                each: None for each in found if (each.entry, each.cluster) != (change.entry, change.cluster)
            }
    return tuple(found)


def _read(entry: Entry) -> Changed:
    failover = entry.get("failover")
    return Changed(
        run=entry["run"],
        entry=str(entry.get("entry")),
        cluster=str(entry.get("cluster")),
        failover=Failover(failover) if failover in tuple(Failover) else Failover.HEALTH_CHECK,
    )


def _write(event: str, change: Changed) -> None:
    what = {"entry": change.entry, "cluster": change.cluster, "failover": change.failover.value}
    intent_log().write({"event": event, "run": change.run, "nodes": [], **what})
