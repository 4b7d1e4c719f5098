"""Kubernetes Events on the Job of a game day, so that `kubectl get events` and whatever collects them tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import ChaosextError
from chaosext.model.printable import one_line
from chaosext.model.redact import veiled

if TYPE_CHECKING:
    from chaosext.cluster.client import Cluster

LONGEST_NOTE = 1024
"""Bytes of an Event's message (k8s.io/api, core/v1 Event: events.k8s.io limits it to 1 kB)."""

COMPONENT = "chaosext"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an Event is about: the Job; by hand, where there is none, the CronJob by its name."""

    kind: str
    name: str
    namespace: str
    uid: str = ""

    def to_json(self) -> dict[str, str]:
        said = {
            "apiVersion": "batch/v1", "kind": self.kind, "name": self.name, "namespace": self.namespace,
            "uid": self.uid,
        }  # fmt: skip
        return {key: value for key, value in said.items() if value}


def event(subject: Subject, reason: str, note: str, *, warning: bool, at: datetime) -> dict[str, Any]:
    """A core/v1 Event. Pure."""
    moment = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{subject.name[:50]}-", "namespace": subject.namespace},
        "involvedObject": subject.to_json(),
        "reason": reason,
        "message": _cut(one_line(veiled(note))),
        "type": "Warning" if warning else "Normal",
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": subject.name,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


def announce(cluster: Cluster, subject: Subject, reason: str, note: str, *, warning: bool = False) -> str:
    """Make the Event; why it could not be made, or "": a game day's outcome never turns on it."""
    made = event(subject, reason, note, warning=warning, at=datetime.now(UTC))
    path = f"/api/v1/namespaces/{subject.namespace}/events"
    try:
        cluster.request("POST", path, body=made)
    except ChaosextError as error:
        return f"no Event {reason}: {error.message}"
    return ""


def _cut(text: str) -> str:
    """At most as many bytes as an Event may have, and no half character."""
    raw = text.encode()
    return text if len(raw) <= LONGEST_NOTE else raw[: LONGEST_NOTE - 3].decode(errors="ignore") + "…"
