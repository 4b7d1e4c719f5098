"""The baseline of a run: what stood when it began, kept so that whoever asks later compares with the same."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chaosext.model.finding import Status
from chaosext.model.malformed import MALFORMED
from chaosext.model.places import state_home
from chaosext.model.timeline import Kind
from chaosext.run.judging.verdict import Answer
from chaosext.steady import inventory
from chaosext.steady.inventory import Inventory
from chaosext.steady.names import MISSING
from chaosext.steady.suite import Surroundings, run_checks

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from chaosext.cluster.client import Cluster
    from chaosext.model.finding import Finding
    from chaosext.observe.recorder import Recorder
    from chaosext.run.context import RunContext

KEPT_S = 24 * 3600.0
"""After so long a baseline is not that of anything a person still asks about."""

LAST_LOOK_S, POLL_S = 15.0, 2.0
"""What looking once more at the end of a run may take, and how often it looks."""


@dataclass(slots=True, kw_only=True)
class Baseline:
    """What stood on `cluster` when the run began, and what of it was found missing since."""

    cluster: Cluster
    inventory: Inventory
    missing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def take(cls, cluster: Cluster, namespaces: tuple[str, ...]) -> Baseline:
        """Count what stands. Raises `Refused` where that may not be read, `Unreachable` for no answer."""
        return cls(cluster=cluster, inventory=inventory.gather(cluster, namespaces))

    def note(self, finding: Finding, recorder: Recorder) -> None:
        """Say in the timeline what a finding of `nothing_missing` shows to be missing, and what is back, each once."""
        if finding.check != MISSING or finding.status is Status.UNKNOWN:
            return
        now = dict(inventory.lasting(finding))
        for name, detail in now.items():
            if self.missing.get(name) != detail:
                recorder.say(Kind.OBJECT_MISSING, name, detail)
        for name in self.missing.keys() - now.keys():
            recorder.say(Kind.OBJECT_BACK, name, "stands again as at the baseline")
        self.missing = now

    def last_look(self, recorder: Recorder, hurried: threading.Event) -> Answer:
        """Whether all of it stands at the end of the run. Bounded; what may be back in a moment is asked for again."""
        around = Surroundings(cluster=self.cluster, shells={}, baseline=self.inventory)
        deadline_s = time.monotonic() + LAST_LOOK_S
        while True:
            left_s = max(POLL_S, deadline_s - time.monotonic())
            (finding,) = run_checks((MISSING,), around, timeout_s=left_s)
            over = time.monotonic() + POLL_S > deadline_s
            if finding.status is Status.HEALTHY or over or inventory.lasting(finding) or hurried.wait(POLL_S):
                break
        self.note(finding, recorder)
        return Answer(status=finding.status, reason=finding.summary)


def keep(run: RunContext) -> None:
    """Keep the baseline of a run that has its cluster to itself: `chaosext check all` compares with it later."""
    if run.baseline is not None:
        write(run.trail.cluster_uid, run.baseline.inventory)


def write(cluster_uid: str, found: Inventory) -> None:
    """Keep the baseline of the cluster whose kube-system has this UID, instead of the one before it.

    A disk that is full is no reason not to run: then nobody compares with it later.
    """
    path = _path(cluster_uid)
    temporary = path.with_suffix(".tmp")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_text(json.dumps({"at": time.time(), **found.to_json()}), encoding="utf-8")
        temporary.replace(path)


@dataclass(frozen=True, slots=True)
class Kept:
    """A baseline of an earlier process, and when it was taken."""

    inventory: Inventory
    at: datetime


def kept(cluster_uid: str) -> Kept | None:
    """The newest baseline of that cluster; None where there is none, or it is too old."""
    with suppress(OSError, *MALFORMED):
        value = json.loads(_path(cluster_uid).read_text(encoding="utf-8"))
        if 0 <= time.time() - value["at"] <= KEPT_S:
            return Kept(Inventory.from_json(value), datetime.fromtimestamp(value["at"], UTC))
    return None


def _path(cluster_uid: str) -> Path:
    return state_home() / f"inventory-{cluster_uid}.json"
