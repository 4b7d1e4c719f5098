"""The baseline of a run: the objects at its start, kept for later comparisons."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chaosext.checks import baseline_inventory
from chaosext.checks.baseline_inventory import Inventory
from chaosext.checks.check_names import MISSING
from chaosext.checks.suite import STEADY_STATE, Surroundings, run_checks
from chaosext.model.bounded_json import JSON_BYTES, parse_json
from chaosext.model.errors import MALFORMED, Refused
from chaosext.model.files import OWNER_ONLY, read_file, write_whole
from chaosext.model.findings import Status
from chaosext.model.known_unhealthy import Known, became, entries_of, measure
from chaosext.model.paths import state_home
from chaosext.model.poll import poll
from chaosext.model.timeline import Kind
from chaosext.run.monitor.surroundings import KNOWN, surroundings
from chaosext.run.session.run_context import Key
from chaosext.run.verdict.derive import Answer

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from pathlib import Path

    from chaosext.cluster.client import Cluster
    from chaosext.experiment.settings import Settings
    from chaosext.model.findings import Finding
    from chaosext.model.known_unhealthy import KnownObject, KnownUnhealthy, Measured
    from chaosext.run.session.run_context import RunContext
    from chaosext.timeline.recorder import Recorder

KEPT_S = 24 * 3600.0
"""Maximum age of a baseline for later checks."""

LAST_LOOK_S, POLL_S = 15.0, 2.0
"""Time limit of the check at the end of a run, and its interval, seconds."""


@dataclass(slots=True, kw_only=True)
class Baseline:
    """The objects on `cluster` at the start of the run, and which of them are missing since.

    `entries`: what is known to be unhealthy; `before` its state then, if unhealthy, and `after` its last state.
    """

    cluster: Cluster
    inventory: Inventory
    entries: tuple[KnownUnhealthy, ...] = ()
    before: Mapping[KnownUnhealthy, Measured] = field(default_factory=dict)
    after: dict[KnownUnhealthy, Measured] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def take(cls, cluster: Cluster, settings: Settings) -> Baseline:
        """Count the objects, and check those known to be unhealthy.

        Raises `Refused` if something may not be read, `Unreachable` for no answer.
        """
        return cls(
            cluster=cluster,
            inventory=baseline_inventory.gather(cluster, settings.namespaces),
            entries=settings.known,
            before=_measured(settings),
        )

    @property
    def known(self) -> Known | None:
        """What is accepted from here on: known problems that are no worse than before."""
        if not self.entries:
            return None
        return Known(entries=self.entries, before={entry: each.share for entry, each in self.before.items()})

    @property
    def objects(self) -> tuple[KnownObject, ...]:
        """The state of each entry."""
        return tuple(became(entry, self.before.get(entry), self.after.get(entry)) for entry in self.entries)

    def note(self, finding: Finding, recorder: Recorder) -> None:
        """Record the state of known problems by `finding`; report objects of `nothing_missing` once, gone or back."""
        for entry in self.entries:
            if found := measure(entry, finding):
                self.after[entry] = found
        if finding.check != MISSING or finding.status is Status.UNKNOWN:
            return
        now = dict(baseline_inventory.lasting(finding))
        for name, detail in now.items():
            if self.missing.get(name) != detail:
                recorder.say(Kind.OBJECT_MISSING, name, detail)
        for name in self.missing.keys() - now.keys():
            recorder.say(Kind.OBJECT_BACK, name, "is back as at the baseline")
        self.missing = now

    def last_look(self, recorder: Recorder, hurried: threading.Event) -> Answer:
        """Whether all of it exists at the end of the run. Bounded; retries for what may be back in a moment."""
        around = Surroundings(cluster=self.cluster, shells={}, baseline=self.inventory)
        deadline_s = time.monotonic() + LAST_LOOK_S

        def look() -> Finding:
            left_s = max(POLL_S, deadline_s - time.monotonic())
            return run_checks((MISSING,), around, timeout_s=left_s)[0]

        finding = poll(
            look,
            until=lambda finding: finding.status is Status.HEALTHY or baseline_inventory.lasting(finding),
            within_s=LAST_LOOK_S,
            every_s=POLL_S,
            at_deadline=False,
            wait=hurried.wait,
        )
        self.note(finding, recorder)
        return Answer(status=finding.status, reason=finding.summary)


BASELINE: Key[Baseline | None] = Key(lambda: None)
"""The run's baseline, taken before its gate."""


def begin_baseline(run: RunContext, baseline: Baseline) -> None:
    """From here on the checks of `run` compare with `baseline`, and excuse what it knows to be unhealthy."""
    run.stash[BASELINE], run.stash[KNOWN] = baseline, baseline.known


def _measured(settings: Settings) -> dict[KnownUnhealthy, Measured]:
    """The current state of known unhealthy objects; unknown ones are left out, and so must be healthy."""
    checks = tuple(dict.fromkeys(entry.check for entry in settings.known))
    if not checks:
        return {}
    around = surroundings(settings)
    findings = {finding.check: finding for finding in run_checks(checks, around)}
    found = {entry: measure(entry, findings[entry.check]) for entry in settings.known}
    return {
        entry: each
        for entry, each in found.items()
        if each and (each.unhealthy or each.unknown) and (not each.unknown or _is_excused(entry, findings))
    }


def _is_excused(entry: KnownUnhealthy, findings: Mapping[str, Finding]) -> bool:
    """Whether all unhealthy parts of it are accepted, as for a node that is known to be dead."""
    rows = (row for row in findings[entry.check].evidence if row.counts and entry.covers(row.subject))
    return all(row.known or row.status is Status.HEALTHY for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is unhealthy on a cluster now, as entries; and a line for each unknown."""

    entries: tuple[KnownUnhealthy, ...]
    unknown: tuple[str, ...]


def observe(settings: Settings, until: datetime, reason: str) -> Seen:
    """Check the whole steady state, accepting nothing, and save the objects as the cluster's baseline.

    Raises `Refused` if cluster DNS is dead on every node: that can't be accepted.
    """
    around = replace(surroundings(settings), known=None)
    findings = run_checks(STEADY_STATE, around)
    rows = [(finding.check, row) for finding in findings for row in finding.evidence if row.counts]
    for _, row in rows:
        if row.vital and row.status is not Status.HEALTHY:
            raise Refused(
                f"{row.subject}: {row.detail}: this can't be accepted as known",
                "repair cluster DNS, then save the baseline",
            )
    entries = entries_of(findings, until=until, reason=reason)
    renew(around.cluster, settings)
    return Seen(
        entries=entries,
        unknown=tuple(
            f"{check}: {row.subject}: {row.detail}"
            for check, row in rows
            if row.status is Status.UNKNOWN
            and not any(entry.check == check and entry.covers(row.subject) for entry in entries)
        ),
    )


def keep(run: RunContext) -> None:
    """Save the baseline of a run that has its cluster's lock: `chaosext check all` compares with it later."""
    if baseline := run.stash[BASELINE]:
        write(run.trail.cluster_uid, baseline.inventory)


def renew(cluster: Cluster, settings: Settings) -> None:
    """Save the current objects as the cluster's baseline. Raises as `gather` does."""
    write(cluster.namespace_uid("kube-system"), baseline_inventory.gather(cluster, settings.namespaces))


def write(cluster_uid: str, found: Inventory) -> None:
    """Save the baseline of the cluster whose kube-system has this UID, replacing the earlier one.

    A full disk is not a reason to refuse a run: then there is no baseline to compare with later.
    """
    path = _path(cluster_uid)
    text = json.dumps({"at": time.time(), **found.to_json()})
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, text, fsync=False, mode=OWNER_ONLY)


@dataclass(frozen=True, slots=True)
class KeptBaseline:
    """A baseline of an earlier process, and its time."""

    inventory: Inventory
    at: datetime


def kept(cluster_uid: str) -> KeptBaseline | None:
    """The newest baseline of that cluster; None if there is none, or it is too old."""
    with suppress(OSError, *MALFORMED):
        value = parse_json(read_file(_path(cluster_uid), most=JSON_BYTES))
        if 0 <= time.time() - value["at"] <= KEPT_S:
            return KeptBaseline(Inventory.from_json(value), datetime.fromtimestamp(value["at"], UTC))
    return None


def _path(cluster_uid: str) -> Path:
    return state_home() / f"inventory-{cluster_uid}.json"
