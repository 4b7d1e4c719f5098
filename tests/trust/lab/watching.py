"""What the eye saw, as a bar asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.trust.lab.lab import wait_until

if TYPE_CHECKING:
    from tests.trust.lab.bed import Bed
    from tests.trust.lab.lab import Eye
    from tests.trust.lab.stage import Outcome

SEEN_S = 0.3
"""By then after it happened the eye has seen it."""


def is_open(eye: Eye) -> bool:
    """Whether every path is open."""
    return eye.cut_s is None or eye.open_s is not None


def healed_by_ttl(
    eye: Eye, ttl_s: float, slack_s: float, outcome: Outcome, since_s: float = 0.0
) -> float | None:
    """By how many seconds the cut outlived its TTL, counted from the first closed path (below 0: it ended before).

    `since_s`: when it was renewed last. None where nothing was cut. More than `slack_s` is a failure, and so is a path
    that closed twice.
    """
    wait_until(lambda: False, SEEN_S)
    if eye.cut_s is None:
        return None
    wait_until(lambda: is_open(eye), ttl_s + slack_s + 2.0)
    if not outcome.expect(eye.open_s is not None, f"still cut {ttl_s + slack_s + 2.0:.1f} s later"):
        return None
    again = [path for path, times in eye.closures().items() if times > 1]
    outcome.expect(not again, f"cut twice: {again}")
    assert eye.open_s is not None
    over_s = eye.open_s - max(eye.cut_s, since_s) - ttl_s
    outcome.expect(over_s <= slack_s, f"healed {over_s:.2f} s after the TTL")
    return over_s


def lease_left(lab: Bed) -> list[str]:
    """A Lease that a run which ended by itself has not given back."""
    leases = lab.api.tell()["leases"]
    lab.api.tell(leases={})
    return [f"Lease {name}" for name in leases]
