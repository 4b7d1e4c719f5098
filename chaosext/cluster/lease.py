"""One Lease for the whole cluster, `kube-system/chaosext` (coordination.k8s.io/v1): only its holder may cut.

Requires get, create, update and delete of that object. All its times are the API server's own (the Date of
its answers), so that a runner with a wrong clock does not take over another one's lock.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from chaosext.cluster.client import Conflict, raise_for, resource_path
from chaosext.model.errors import Refused
from chaosext.model.owner import LOCK_S, Claim, LockFacts, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.cluster.client import Cluster

NAMESPACE, NAME = "kube-system", "chaosext"
LEASE = f"Lease {NAMESPACE}/{NAME}"
DELETE = f"kubectl -n {NAMESPACE} delete lease {NAME}"
OWNER, HOLDER = "chaosext/owner", "chaosext/holder"
"""Annotations: `user@host`, and the process (model/owner.py)."""

ABORT, ANSWER, CUT, OVER = "chaosext/abort", "chaosext/abort-answer", "chaosext/cut", "chaosext/over"
"""Annotations: a request to end the run, with its reason, by anyone who may patch the Lease; the runner's
answer; the active cut (`InForce`); and when the run ends at the latest."""

ATTEMPTS = 3
"""Attempts to take a Lease that changed in between: it may be free by then."""

_ALL = resource_path("leases", namespace=NAMESPACE)
_ONE = resource_path("leases", NAME, namespace=NAMESPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """The Lease as the API serves it (None: it does not exist), its holder, and the server's clock."""

    lease: Mapping[str, Any] | None
    lock: LockFacts | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """An active cut: the end of its TTL on the API server's clock, and its dead man's switch in seconds (0: none)."""

    until: datetime
    dead_man_s: float

    def __str__(self) -> str:
        return f"until={self.until:%Y-%m-%dT%H:%M:%SZ},dead_man_s={self.dead_man_s:g}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the output of `str`. Raises ValueError or KeyError for anything else."""
        said = dict(part.split("=", 1) for part in text.split(","))
        return cls(until=datetime.fromisoformat(said["until"]), dead_man_s=float(said["dead_man_s"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """The content of a Lease besides its holder. `abort` and `answer`: "" without a request or an answer.

    `in_force`: the run's active cut; None: none according to the Lease. `now`: the API server's clock.
    """

    lock: LockFacts | None
    now: datetime
    abort: str = ""
    answer: str = ""
    in_force: InForce | None = None


def look_at_notes(cluster: Cluster, *, timeout_s: float | None = None) -> Notes:
    """Read the Lease's notes; empty ones without a Lease. Raises as the cluster's `request` does."""
    look = _look(cluster, timeout_s)
    said = _annotations(look.lease or {})
    return Notes(
        lock=look.lock,
        now=look.now,
        abort=said.get(ABORT, ""),
        answer=said.get(ANSWER, ""),
        in_force=_in_force(said.get(CUT, "")),
    )


def _in_force(text: str) -> InForce | None:
    try:
        return InForce.parse(text)
    except (ValueError, KeyError):
        return None


def request_abort(cluster: Cluster, reason: str, *, timeout_s: float | None = None) -> None:
    """Ask the holder of the Lease to heal and end, as `kubectl annotate` would. Raises as `request` does."""
    patch = {"metadata": {"annotations": {ABORT: reason, ANSWER: None}}}
    cluster.request("PATCH", _ONE, body=patch, timeout_s=timeout_s)


def write_notes(
    cluster: Cluster, run: str, notes: Mapping[str, str], *, timeout_s: float | None = None
) -> None:
    """Write annotations on the run's own Lease only. Raises as the cluster's `request` does."""
    for _ in range(ATTEMPTS):
        look = _look(cluster, timeout_s)
        if look.lease is None or look.lock is None or look.lock.run != run:
            return
        metadata = {**look.lease["metadata"], "annotations": {**_annotations(look.lease), **notes}}
        with suppress(Conflict):
            cluster.request("PUT", _ONE, body={**look.lease, "metadata": metadata}, timeout_s=timeout_s)
            return


def _annotations(lease: Mapping[str, Any]) -> dict[str, str]:
    return dict((lease.get("metadata") or {}).get("annotations") or {})


def look_at_lease(cluster: Cluster, *, timeout_s: float | None = None) -> LockFacts | None:
    """The holder of the Lease; None without a Lease. Raises as the cluster's `request` does."""
    return _look(cluster, timeout_s).lock


def take_lease(cluster: Cluster, claim: Claim, *, timeout_s: float | None = None) -> None:
    """Acquire the Lease if it is free or expired, or if its holder is known to be dead.

    Raises `Refused` saying who holds it or which permission is missing; `Unreachable` without an answer.
    """
    for _ in range(ATTEMPTS):
        look = _look(cluster, timeout_s)
        if look.lock and look.lock.keeps_out(claim.run):
            raise look.lock.refusal(LEASE)
        try:
            _write(cluster, claim, look, timeout_s)
        except Conflict:
            continue
        return
    raise Refused(f"lock: {LEASE} changes faster than it can be acquired", "run again")


def renew_lease(cluster: Cluster, claim: Claim, *, timeout_s: float | None = None) -> str:
    """Restart the Lease's duration. Returns a problem ("": none) if the run no longer holds it. Never creates one.

    Raises `Refused` and `Unreachable` without a valid answer: then the Lease is unchanged.
    """
    for _ in range(ATTEMPTS):  # a request to abort changes it as well
        look = _look(cluster, timeout_s)
        if look.lock is None:
            return f"{LEASE} is gone"
        if look.lock.run != claim.run:
            return f"{look.lock} took {LEASE} over"
        with suppress(Conflict):
            _write(cluster, claim, look, timeout_s)
            return ""
    return f"{LEASE} was changed by another"


def release_lease(cluster: Cluster, run: str, *, timeout_s: float | None = None) -> None:
    """Delete the Lease if the run holds it, and only in the state just read. May be repeated."""
    for _ in range(ATTEMPTS):
        look = _look(cluster, timeout_s)
        if look.lease is None or look.lock is None or look.lock.run != run:
            return
        seen = {key: look.lease["metadata"][key] for key in ("uid", "resourceVersion")}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": seen}
        with suppress(Conflict):
            raise_for(cluster.ask("DELETE", _ONE, body=options, timeout_s=timeout_s), "DELETE", _ONE)
            return


def _look(cluster: Cluster, timeout_s: float | None) -> _Look:
    answer = cluster.ask("GET", _ONE, timeout_s=timeout_s)
    now = answer.at or datetime.now(UTC)
    if answer.status == 404:
        return _Look(lease=None, lock=None, now=now)
    raise_for(answer, "GET", _ONE)
    return _Look(lease=answer.body, lock=facts_of_lease(answer.body, now), now=now)


def facts_of_lease(lease: Mapping[str, Any], now: datetime) -> LockFacts:
    """The holder of a Lease at `now` (API server's clock). Without a holder it is free, as for all users of Leases.

    A Lease with an unreadable expiry counts as held.
    """
    spec, notes = lease.get("spec") or {}, _annotations(lease)
    cut = _in_force(notes.get(CUT, ""))
    is_held, remaining_s = bool(spec.get("holderIdentity")), _remaining_s(spec, now)
    return LockFacts(
        run=spec.get("holderIdentity") or "",
        owner=notes.get(OWNER, ""),
        holder=parsed(notes.get(HOLDER)),
        remaining_s=max(0, int(remaining_s or 0)),
        is_live=is_held and (remaining_s is None or remaining_s > 0),
        delete_with=DELETE if is_held and remaining_s is None else "",
        over=_moment(notes.get(OVER)),
        cut_over=cut.until if cut else None,
    )


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except (TypeError, ValueError, OverflowError):
        return None


def _remaining_s(spec: Mapping[str, Any], now: datetime) -> float | None:
    """Seconds until it expires; None if its times are unreadable."""
    try:
        renewed = datetime.fromisoformat(spec["renewTime"])
        return (renewed + timedelta(seconds=spec["leaseDurationSeconds"]) - now).total_seconds()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _write(cluster: Cluster, claim: Claim, look: _Look, timeout_s: float | None) -> None:
    """Create the Lease, or replace the one just read. Raises `Conflict` if it has changed since."""
    if look.lease is None:
        made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}}
        cluster.request("POST", _ALL, body=_held(made, claim, look.now), timeout_s=timeout_s)
    else:  # uid and resourceVersion stay, so only the state just read is replaced
        cluster.request("PUT", _ONE, body=_held(look.lease, claim, look.now), timeout_s=timeout_s)


def _over(claim: Claim, now: datetime) -> dict[str, str]:
    if claim.lasts_s is None:
        return {}
    return {OVER: (now.astimezone(UTC) + timedelta(seconds=claim.lasts_s)).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _held(lease: Mapping[str, Any], claim: Claim, now: datetime) -> dict[str, Any]:
    """The Lease as held by `claim` from `now` on."""
    metadata, spec = lease["metadata"], lease.get("spec") or {}
    time = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # metav1.MicroTime
    mine = spec.get("holderIdentity") == claim.run
    kept = _annotations(lease)
    if not mine:  # notes of the previous run do not apply to this one
        kept = {key: value for key, value in kept.items() if key not in (ABORT, ANSWER, CUT, OVER)}
        kept |= _over(claim, now)
    notes = {**kept, OWNER: claim.owner, HOLDER: str(claim.holder)}
    return {
        **lease,
        "metadata": {**metadata, "annotations": notes},
        "spec": {
            "holderIdentity": claim.run,
            "leaseDurationSeconds": LOCK_S,
            "acquireTime": spec["acquireTime"] if mine and "acquireTime" in spec else time,
            "renewTime": time,
            "leaseTransitions": spec.get("leaseTransitions", 0) + (0 if mine or not spec else 1),
        },
    }
