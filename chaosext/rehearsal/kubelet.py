"""What kubelet does with Pods: how fast they start, how a sidecar that gets no configuration fails, restarts.

Source: Kubernetes v1.34 pkg/kubelet/kuberuntime/kuberuntime_container.go (a postStart hook holds back the containers
after it; the container whose hook fails is killed) and pkg/kubelet/kubelet.go (back-off from 10 s, doubling, to 300 s);
Istio pilot/cmd/pilot-agent/app/wait.go (waits 60 s) and the sidecar's drain of 5 s. Times are the testbed's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.mesh import Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTS_WITHIN_S = (0.3, 4.0)
"""From bound to Ready, with the image there, and no probe that asks for more."""

STOPS_WITHIN_S = (0.5, 12.0)
"""After the heal, until a Terminating Pod is gone: kubelet's watch connects again, then the containers stop."""

CAUGHT_UP_WITHIN_S = (0.1, 4.0)
"""After its node is Ready, until kubelet has reported a running Pod Ready again."""

BACKOFF_S, BACKOFF_MAX_S = 10.0, 300.0

WAIT_S, KILL_S = 60.0, 8.0
"""pilot-agent's wait for Envoy; then the hook has failed and the container is stopped and started again."""

FIRST_PROBE_S = (1.0, 12.0)
"""From the start of the application's container to its first failed probe."""

RECOVERS_WITHIN_S = (1.0, 6.0)
"""From working DNS to Ready, where a sidecar is just waiting for it."""


def restarts(started_s: float) -> Iterator[tuple[float, float]]:
    """A held application's sidecar without configuration: (it begins to wait, it fails) for each of its lives.

    The first restart comes at once, the next ones after 10 s, 20 s, … from the failure.
    """
    pause = 0.0
    while True:
        failed = started_s + WAIT_S + KILL_S
        yield started_s, failed
        started_s = failed + pause
        pause = min(BACKOFF_MAX_S, 2 * pause or BACKOFF_S)


def first_failure_s(sidecar: Sidecar) -> tuple[float, float]:
    """From a container's start to the first failing probe that kubelet reports.

    While a postStart hook runs kubelet probes nothing. A native or not holding sidecar's startup probe fails each
    second.
    """
    if sidecar is Sidecar.HOLDING:
        return WAIT_S + FIRST_PROBE_S[0], WAIT_S + KILL_S + FIRST_PROBE_S[1]
    return 1.0, 6.0


def crash_loop_s(sidecar: Sidecar) -> float | None:
    """From a container's start to CrashLoopBackOff, None where it just goes on failing."""
    if sidecar is not Sidecar.HOLDING:
        return None
    lives = restarts(0.0)
    next(lives)
    return next(lives)[1] + 2.0


def resumes_s(sidecar: Sidecar, waited_s: float) -> tuple[float, float]:
    """From working DNS to Ready, for a sidecar that has been failing for so long: at its next life in a back-off."""
    soon, late = RECOVERS_WITHIN_S
    if sidecar is not Sidecar.HOLDING:
        return soon, late
    before = 0.0
    for begins, fails in restarts(0.0):
        if waited_s < begins:
            return soon, begins - waited_s + late
        if waited_s < fails:
            before = fails
            return soon, late + max(0.0, _pause_after(before)) + KILL_S
    return soon, late


def _pause_after(failed_s: float) -> float:
    lives = restarts(0.0)
    for _, fails in lives:
        if fails >= failed_s:
            return next(lives)[0] - fails
    return 0.0
