"""Command-to-cut and heal-to-open, over short cuts, watched by a prober of its own; against one bare `docker exec`.

The cuts are shorter than 9 s: with a 20 s grace longer ones already disturb the cluster.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.bed import ensure_up
from benchmarks.prober import Prober

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS = 20
NAME = "chaosext"
SECRETS = {"KUBERNETES_CONTEXT": f"kind-{NAME}", "KUBERNETES_VERIFY_SSL": "true"}
TTL_S = 8.0
TTL_ROUNDS = 5
TTL_TRIAL_S = 3.0


def main() -> None:
    """Print median and 95th percentile of each latency, and their ratio to a bare `docker exec`."""
    ensure_up()
    exec_s = [_timed(_bare_exec) for _ in range(ROUNDS)]
    cut_s, open_s = zip(*(_round() for _ in range(ROUNDS)), strict=True)
    ttl_error_s = [_ttl_error() for _ in range(TTL_ROUNDS)]
    baseline = statistics.median(exec_s)
    for name, values in (("bare docker exec", exec_s), ("command-to-cut", cut_s), ("heal-to-open", open_s)):
        _print(name, values, baseline)
    _print("TTL error", [abs(error) for error in ttl_error_s], baseline)
    _give_the_lock_back()


def _give_the_lock_back() -> None:
    """What a run's end does; these rounds have none."""
    from chaosext.run.fault.run_lock import unlock_cluster
    from chaosext.run.session.run_context import current

    unlock_cluster(current())


def _round() -> tuple[float, float]:
    """One cut and heal: seconds from calling the action to the first lost packet, and to the first one back."""
    from chaosext.actions import heal_control_plane, sever_control_plane

    with Prober(f"{NAME}-worker", f"{NAME}-control-plane") as prober:
        severed_at = time.time()
        sever_control_plane(ttl_s=TTL_S, prove=False, secrets=SECRETS)
        time.sleep(0.5)
        healed_at = time.time()
        heal_control_plane(secrets=SECRETS)
        time.sleep(0.5)
    return _between(severed_at, prober.samples().first_lost), _between(
        healed_at, prober.samples().first_answered
    )


def _ttl_error() -> float:
    """How far from its TTL the kernel lets go of a cut that nobody heals, in seconds."""
    from chaosext.actions import heal_control_plane, sever_control_plane

    with Prober(f"{NAME}-worker", f"{NAME}-control-plane") as prober:
        started_at = time.time()
        sever_control_plane(ttl_s=TTL_TRIAL_S, prove=False, secrets=SECRETS)
        time.sleep(TTL_TRIAL_S + 1.5)
    heal_control_plane(secrets=SECRETS)
    lost_at = started_at + _between(started_at, prober.samples().first_lost)
    return _between(lost_at, lambda after: prober.samples().first_answered(after + 0.1)) - TTL_TRIAL_S


def _between(start: float, find: Callable[[float], float | None]) -> float:
    found = find(start)
    if found is None:
        raise SystemExit("the prober never saw it: is the testbed up?")
    return found - start


def _bare_exec() -> None:
    subprocess.run(
        ["docker", "exec", f"{NAME}-control-plane", "nft", "list", "tables"],
        check=True,
        capture_output=True,
        timeout=30,
    )


def _timed(what: Callable[[], None]) -> float:
    started_s = time.monotonic()
    what()
    return time.monotonic() - started_s


def _print(name: str, values: Sequence[float], baseline: float) -> None:
    median = statistics.median(values)
    p95 = sorted(values)[max(0, round(0.95 * len(values)) - 1)]
    print(
        f"{name:<18} median {median * 1000:7.1f} ms   p95 {p95 * 1000:7.1f} ms   "
        f"{median / baseline:5.2f} x a bare docker exec",
        flush=True,
    )
