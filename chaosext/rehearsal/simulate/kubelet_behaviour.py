"""Kubelet's behaviour: how fast Pods start and stop, and how a sidecar without configuration fails.

Source: Kubernetes v1.34 pkg/kubelet/kuberuntime/kuberuntime_container.go (a postStart hook delays the
containers after it; a container whose hook fails is killed) and pkg/kubelet/kubelet.go (back-off from 10 s,
doubling, to 300 s); Istio pilot/cmd/pilot-agent/app/wait.go (waits 60 s) and the sidecar's drain of 5 s.
Ranges, in seconds, were measured on the testbed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind

if TYPE_CHECKING:
    from collections.abc import Iterator

HEARS_WITHIN_S = (0.0, 2.0)
"""Delay from a node's reconnection until its kubelet and kube-proxy know what has changed."""

STARTS_WITHIN_S = (0.3, 4.0)
"""Delay from bound to Ready, with the image present and no probe that takes longer."""

STOPS_WITHIN_S = (0.2, 6.0)
"""Delay from kubelet learning of a deletion to the Pod's end, if its processes exit on SIGTERM."""

STOPS_SLOWLY, KILLED_WITHIN_S = 0.02, 2.0
"""Share of Pods that last until the end of their grace period, and the time kubelet then takes to kill them.

Source: pkg/kubelet/kuberuntime, `killContainer`; measured on a testbed whose nodes had no CPU to spare.
"""

KWOK_STOPS_WITHIN_S = 0.3
"""KWOK runs no processes: a Pod is gone before its controller has created another one, as measured."""

CAUGHT_UP_WITHIN_S = (0.1, 4.0)
"""Delay from the node being Ready until kubelet has reported a running Pod Ready again."""

RECONCILED_WITHIN_S = (0.0, 10.0)
"""Delay until kubelet corrects a Pod's status: it reconciles every 10 s (pkg/kubelet/status, `syncPeriod`)."""

BACKOFF_S, BACKOFF_MAX_S = 10.0, 300.0

WAIT_S, KILL_S = 60.0, 8.0
"""pilot-agent's wait for Envoy; then the hook has failed, and the container is stopped and restarted."""

BEGINS_S = 3.0
"""Delay from a container's start to Ready, with everything available."""

REFUSED_BEFORE_S = (2.0, 6.0)
"""Time from a refused probe of the running application to its sidecar's CrashLoopBackOff, after the second life."""

FIRST_PROBE_S = (8.0, 14.0)
"""Delay from the failed wait until the application's container runs and kubelet reports its first failed probe."""


def lives(started_s: float) -> Iterator[tuple[float, float]]:
    """Yield (start, failure) of each life of a HOLDING sidecar that gets no configuration, endlessly.

    The first restart comes at once, the next ones 10 s, 20 s, … after the failure.
    """
    pause = 0.0
    while True:
        failed = started_s + WAIT_S + KILL_S
        yield started_s, failed
        started_s = failed + pause
        pause = min(BACKOFF_MAX_S, 2 * pause or BACKOFF_S)


def first_failure_s(sidecar: SidecarKind) -> tuple[float, float]:
    """Return the range of seconds from a container's start to the first failed probe that kubelet reports.

    While a postStart hook runs, kubelet runs no probes. The startup probe of a native or non-holding sidecar
    fails every second.
    """
    if sidecar is SidecarKind.HOLDING:
        return WAIT_S + FIRST_PROBE_S[0], WAIT_S + FIRST_PROBE_S[1]
    return 1.0, 6.0


def crash_loop_s(sidecar: SidecarKind, started_s: float) -> float | None:
    """Return the time of CrashLoopBackOff, after the second life; None for a sidecar that never enters it."""
    if sidecar is not SidecarKind.HOLDING:
        return None
    each = lives(started_s)
    next(each)
    return next(each)[1] + 1.0


def resumes_s(sidecar: SidecarKind, started_s: float, configured_s: float) -> float:
    """Return when a sidecar that has failed since `started_s` becomes Ready.

    Configuration is available from `configured_s` on. The sidecar gets it in its current life, or in the next
    one, after a back-off.
    """
    if sidecar is not SidecarKind.HOLDING:
        return max(configured_s, started_s + BEGINS_S)
    for begins, fails in lives(started_s):
        ready = max(configured_s, begins + BEGINS_S)
        if ready < fails - KILL_S:
            return ready
    raise AssertionError("lives never end")


def stops_after_s(share: float, grace_s: float, *, simulated: bool) -> float:
    """Return the seconds from kubelet learning of a deletion to the Pod's end.

    `share` is 0 for the earliest end, 1 for the latest. `simulated`: the node is simulated by KWOK.
    """
    if simulated:
        return KWOK_STOPS_WITHIN_S * share
    low_s, high_s = STOPS_WITHIN_S
    usual_s = low_s + (high_s - low_s) * share
    late = max(0.0, share - (1.0 - STOPS_SLOWLY)) / STOPS_SLOWLY
    return usual_s + late * max(0.0, grace_s + KILLED_WITHIN_S - high_s)
