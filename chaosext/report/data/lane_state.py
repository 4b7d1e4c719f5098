"""The states that lanes are drawn in, and the keys of lanes that no outage of a run has. Pure."""

from __future__ import annotations

from enum import StrEnum

CUT = "cut"
PLACEMENT = "placement"
PODS = "pods"


class State(StrEnum):
    """The state of an object over some time. Each has its own shape, so that colour is not needed."""

    OUT = "out"
    UNSEEN = "unobserved"
    """Not observed, or not predictable: never drawn as healthy."""
    FAILING = "requests fail"
    """Customers at a load balancer; the share says how many of them. Predicted: some DNS lookups."""
    AWAY = "NotReady"
    """A node that the control plane has lost: the purpose of a cut, so not an alarm."""
    DRAINED = "drained"
    """A cluster that gets no customers from the load balancer, on purpose, so not an alarm."""
    HERE = "here"
    """A node that runs kube-dns."""
    ASTRAY = "here, without a route to it"
    """A node that runs kube-dns and advertises nothing."""
    GOOD = "good"
    QUIET = "nothing reported"
    """Observed through events only, none of which reported an outage."""
