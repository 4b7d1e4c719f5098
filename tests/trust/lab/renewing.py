"""A process that keeps a cut in force: `renewing OWNER TTL_S EVERY_S TRANSPORT UPLINK PEERS NODE…`.

It arms, and renews until it is refused or told to end; marks: armed, renewed (each time), and how it ended.
"""

from __future__ import annotations

import signal
import sys
import time

from chaosext.model.errors import ChaosextError
from chaosext.nodes.transport import shells
from chaosext.partition.apply import arm, renew
from chaosext.partition.cut import Cut, NodeCut, peers_of
from tests.trust.lab.activities import mark


def main(argv: list[str]) -> None:
    """Exits with 0 when it was told to end (SIGTERM), else with the error's own code."""
    run, ttl_s, every_s, transport, uplink, peers, *nodes = argv
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    cut = Cut(
        run=run,
        owner="renewing@lab",
        nodes=tuple(NodeCut(node=node, uplinks=(uplink,)) for node in nodes),
        peers=peers_of(peers.split(",")),
        ttl_s=float(ttl_s),
    )
    ways = shells(nodes, transport)
    try:
        arm(cut, ways)
        mark("armed")
        while True:
            time.sleep(float(every_s))
            renew(cut, ways)
            mark("renewed")
    except ChaosextError as error:
        mark(type(error).__name__.lower())
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(error.exit_code)
