"""A process that keeps a cut in force: `renewing OWNER TTL_S EVERY_S TRANSPORT UPLINK PEERS NODE…`.

It arms, and renews until it is refused; marks: armed, renewed (each time), and how it ended.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from chaosext.model.errors import ChaosextError, Unreachable
from chaosext.nodes.shell import NodeAccess
from chaosext.nodes.transport import shells
from chaosext.partition.apply import arm, renew
from chaosext.partition.cut import Cut, NodeCut, peers_of
from tests.trust.lab.activities import mark


def main(argv: list[str]) -> None:
    """Exits with the code of the error that ended it."""
    run, ttl_s, every_s, transport, uplink, peers, *nodes = argv
    cut = Cut(
        run=run,
        owner="renewing@lab",
        nodes=tuple(NodeCut(node=node, uplinks=(uplink,)) for node in nodes),
        peers=peers_of(peers.split(",")),
        ttl_s=float(ttl_s),
    )
    ways = shells(nodes, NodeAccess(transport=transport))
    try:
        arm(cut, ways)
        mark("armed")
        while True:
            time.sleep(float(every_s))
            with suppress(Unreachable):  # it may answer the next time
                renew(cut, ways)
                mark("renewed")
    except ChaosextError as error:
        mark(type(error).__name__.lower())
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(error.exit_code)
