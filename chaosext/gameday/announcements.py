"""Kubernetes Events on a game day's Job, for `kubectl get events` and for event collectors."""

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
"""Maximum length of an Event's message, bytes (k8s.io/api, core/v1 Event: events.k8s.io limits it to 1 kB)."""

COMPONENT = "chaosext"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The object of an Event: the Job; if run by hand without a Job, the CronJob by its name."""

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
    """Return a core/v1 Event. Pure."""
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
    """Create the Event. Returns why that failed, or "": it never affects a game day's outcome."""
    made = event(subject, reason, note, warning=warning, at=datetime.now(UTC))
    path = f"/api/v1/namespaces/{subject.namespace}/events"
    try:
        cluster.request("POST", path, body=made)
    except ChaosextError as error:
        return f"no Event {reason}: {error.message}"
    return ""


def _cut(text: str) -> str:
    """Shorten to the maximum length of an Event's message, in bytes, without splitting a character."""
    raw = text.encode()
    return text if len(raw) <= LONGEST_NOTE else raw[: LONGEST_NOTE - 3].decode(errors="ignore") + "…"
