"""A cut that blocks access to its own nodes: while it is active no API server leads to them.

As these nodes have no other access, the cut can't be renewed, read back or healed, so it lasts exactly its
TTL.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chaosext.cluster.bounded_http import resolve
from chaosext.cluster.kubeconfig import RESOLVED_S
from chaosext.experiment.timeouts import BACK_S, SETTLE_S
from chaosext.model.errors import Refused, Unsafe
from chaosext.model.poll import poll
from chaosext.nodes.transport import shells
from chaosext.partition.apply import DELAY_S, inspect
from chaosext.partition.cut import nodes_of
from chaosext.partition.reports import how_to_remove
from chaosext.run.fault.state import fault_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node
    from chaosext.model.clock import Moment
    from chaosext.partition.cut import Cut
    from chaosext.run.session.run_context import RunContext

NODE_VARIABLE = "CHAOSEXT_NODE"
"""The node of the runner's Pod (`spec.nodeName`, by the downward API)."""

POLL_S = 1.0


def meaning(nodes: Collection[str], ttl_s: float) -> tuple[str, ...]:
    """Warnings before such a cut is made."""
    return (
        f"the cut is on the nodes' side ({', '.join(sorted(nodes))}): while it is active no API server leads to "
        "them, so it can't be renewed, read back or healed",
        f"it starts {DELAY_S:g} s after it is armed, and ends by itself after its TTL, {ttl_s:g} s: once it is active, "
        "an abort, a stop condition, Ctrl-C or the death of the runner does not end it earlier",
    )


def unhealable(context: RunContext, until: Moment) -> Unsafe:
    """The error for an attempt to heal it earlier."""
    fault = fault_of(context)
    nodes, left_s = nodes_of(fault.cuts), max(0.0, -(until.age_s() or 0.0))
    return Unsafe(
        f"the cut of run {context.id} on {', '.join(nodes)} can't be healed early: no API server leads to these "
        f"nodes; it ends by itself at {until.as_wall_clock():%H:%M:%S} UTC, in {left_s:.0f} s",
        f"then {how_to_remove(context.id, nodes, fault.access)}",
    )


def await_begin(context: RunContext, begins: Moment) -> None:
    """Wait until the cut is active everywhere. A run that leaves before that can still heal it."""
    told = f"armed and read back; it starts at {begins.as_wall_clock():%H:%M:%S} UTC"
    context.doing = f"waiting for the cut: {told}", time.monotonic()
    time.sleep(max(0.0, -(begins.age_s() or 0.0)))


def await_end(context: RunContext, *, hurried: threading.Event | None = None) -> None:
    """Wait for the end of a sealed cut, then at most `BACK_S` seconds until its nodes can be entered again.

    Does nothing for another cut. Returns early once `hurried` is set.
    """
    fault = fault_of(context)
    until = fault.sealed_until
    if until is None:
        return
    hurried = hurried or threading.Event()
    context.doing = f"the cut ends by itself at {until.as_wall_clock():%H:%M:%S} UTC", time.monotonic()
    if hurried.wait(max(0.0, -(until.age_s() or 0.0)) + SETTLE_S):
        return
    on = shells(nodes_of(fault.cuts), fault.access)
    poll(
        lambda: not any(look.problem for look in inspect(on)),
        within_s=BACK_S,
        every_s=POLL_S,
        wait=hurried.wait,
    )


def require_elsewhere(cut: Cut, nodes: Iterable[Node], cluster: Cluster) -> None:
    """Raise `Refused` if this process is, or may be, on a node that `cut` separates from the API servers."""
    names = {each.node for each in cut.nodes}
    here = os.environ.get(NODE_VARIABLE, "")
    if os.environ.get("KUBERNETES_SERVICE_HOST") and not here:
        raise Refused(
            "nodes: the node of this runner's Pod is unknown, so the cut may include it",
            f"set {NODE_VARIABLE} from spec.nodeName (`chaosext schedule` does)",
        )
    own = _own_address(cluster.server)
    held = {address: node.name for node in nodes for address in node.internal_ips}
    if (on := here or held.get(own, "")) in names:
        raise Refused(
            f"nodes: this runner is on {on}, which the cut would separate from the API servers",
            "schedule it on a node that is not cut, or list other nodes in configuration.chaosext_cut_nodes",
        )


def _own_address(server: str) -> str:
    """This machine's source address to the API server; "" without a route."""
    url = urlsplit(server)
    with suppress(OSError):
        for address in resolve(url.hostname or "", RESOLVED_S):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, url.port or 443))  # of a datagram socket: nothing is sent
                return str(probe.getsockname()[0])
    return ""
