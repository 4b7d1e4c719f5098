"""An activity that plays the story of the night in seconds: what is told of it is real, what happens is not."""

from __future__ import annotations

import time

from chaosext.model import clock
from chaosext.model.timeline import Kind
from chaosext.run.fault.state import fault_of
from chaosext.run.monitor.sentinels import HEARD
from chaosext.run.session.run_context import current

NODES = ("cp-1", "worker-1", "worker-2")
STORY = (
    (Kind.CUT, "Node/cp-1", "drops 10.0.0.0/24 for 60 s at the most"),
    (Kind.NODE_NOT_READY, "Node/worker-1", "Ready is Unknown"),
    (Kind.ENDPOINTS_CHANGED, "Service/kube-system/kube-dns", "10.244.0.7 on cp-1"),
    (Kind.HEAL, "Node/cp-1", "cut removed in 0.41s"),
    (Kind.NODE_READY, "Node/worker-1", "Ready is True again"),
    (Kind.DNS_DEAD, "Node/worker-1", "10.2.112.10:53/udp timed out"),
    (Kind.DNS_RESTORED, "Node/worker-1", "10.2.112.10:53/udp answered"),
)


def night(step_s: float, last: str = "") -> None:
    """The story, a step each `step_s` seconds, up to the first event of the kind `last`; then, with it, 60 s of it."""
    run = current()
    fault_of(run).expires_at = clock.now().later(60.0)
    run.recorder.set_zero(time.monotonic())
    for kind, name, detail in STORY:
        run.stash[HEARD].update(dict.fromkeys(NODES, time.monotonic()))
        run.recorder.say(kind, name, detail)
        time.sleep(60.0 if kind == last else step_s)
