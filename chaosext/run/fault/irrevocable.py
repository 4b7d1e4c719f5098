"""A cut that keeps everybody from its own nodes: while it is in force no API server leads to them, and there is no
other way in. Nobody can renew it, read it back or heal it, so its TTL is how long it lasts.
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
from chaosext.model.errors import Refused, Unsafe
from chaosext.nodes.transport import shells
from chaosext.partition.apply import DELAY_S, inspect
from chaosext.partition.cut import nodes_of
from chaosext.partition.reports import how_to_remove

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node
    from chaosext.model.clock import Moment
    from chaosext.partition.cut import Cut
    from chaosext.run.session.run_context import RunContext

NODE_VARIABLE = "CHAOSEXT_NODE"
"""The node that a runner's Pod is on (`spec.nodeName`, by the downward API)."""

SETTLE_S = 0.5
"""By how much the wait outlasts the kernel's timeout: that is precise to milliseconds, reading clocks is, too."""

BACK_S = 60.0
"""How long nodes may take to be entered again: API servers dial kubelets anew at once, slow ones after a time-out."""

POLL_S = 1.0


def meaning(nodes: Collection[str], ttl_s: float) -> tuple[str, ...]:
    """What people should know before such a cut is made."""
    return (
        f"the cut is on the nodes' side ({', '.join(sorted(nodes))}): while it is in force no API server leads to "
        "them, so nobody can renew it, read it back or heal it",
        f"it begins {DELAY_S:g} s after it is armed, and ends by itself after its TTL, {ttl_s:g} s: an abort, a stop "
        "condition or Ctrl-C ends it no earlier once it is in force, nor does the runner's death",
    )


def lasting_s(ttl_s: float) -> float:
    """From arming until its nodes can be entered again, at the latest."""
    return DELAY_S + ttl_s + SETTLE_S + BACK_S


def unhealable(context: RunContext, until: Moment) -> Unsafe:
    """The error of whoever wants to heal it earlier."""
    nodes, left_s = nodes_of(context.cuts), max(0.0, -(until.age_s() or 0.0))
    return Unsafe(
        f"the cut of run {context.id} on {', '.join(nodes)} can't be healed early, as no API server leads to these "
        f"nodes: it heals by itself at {until.as_wall_clock():%H:%M:%S} UTC, in {left_s:.0f} s",
        f"then {how_to_remove(context.id, nodes, context.way)}",
    )


def await_begin(context: RunContext, begins: Moment) -> None:
    """Until the cut is in force everywhere. Whoever leaves before that can still heal it."""
    told = f"armed and read back; the kernel begins at {begins.as_wall_clock():%H:%M:%S} UTC"
    context.doing = f"waiting for the cut: {told}", time.monotonic()
    time.sleep(max(0.0, -(begins.age_s() or 0.0)))


def await_end(context: RunContext, *, hurried: threading.Event | None = None) -> None:
    """Until the TTL of a sealed cut is over, and its nodes can be entered again, or do not come back in time.

    Does nothing for another cut. Once `hurried` is set nobody is waited for any more.
    """
    until = context.sealed_until
    if until is None:
        return
    hurried = hurried or threading.Event()
    context.doing = f"the cut ends by itself at {until.as_wall_clock():%H:%M:%S} UTC", time.monotonic()
    hurried.wait(max(0.0, -(until.age_s() or 0.0)) + SETTLE_S)
    on = shells(nodes_of(context.cuts), context.way)
    _until(lambda: not any(look.problem for look in inspect(on)), BACK_S, hurried)


def _until(is_so: Callable[[], bool], within_s: float, hurried: threading.Event) -> None:
    deadline_s = time.monotonic() + within_s
    while not hurried.is_set() and not is_so() and time.monotonic() < deadline_s:
        hurried.wait(POLL_S)


def require_elsewhere(cut: Cut, nodes: Iterable[Node], cluster: Cluster) -> None:
    """Raise `Refused` where this process is on a node that `cut` keeps from the API servers, or may be."""
    names = {each.node for each in cut.nodes}
    here = os.environ.get(NODE_VARIABLE, "")
    if os.environ.get("KUBERNETES_SERVICE_HOST") and not here:
        raise Refused(
            "nodes: which node this runner's Pod is on is not known, and a node that is cut can't be told from it",
            f"set {NODE_VARIABLE} from spec.nodeName (`chaosext schedule` does)",
        )
    own = _own_address(cluster.server)
    held = {address: node.name for node in nodes for address in node.internal_ips}
    if (on := here or held.get(own, "")) in names:
        raise Refused(
            f"nodes: this runner is on {on}, which the cut would keep from the API servers",
            "pin it to a node that is not cut, or name others in configuration.chaosext_cut_nodes",
        )


def _own_address(server: str) -> str:
    """From which address of this machine one comes to the API server; "" where there is no way."""
    url = urlsplit(server)
    with suppress(OSError):
        for address in resolve(url.hostname or "", RESOLVED_S):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((address, url.port or 443))  # of a datagram socket: nothing is sent
                return str(probe.getsockname()[0])
    return ""
