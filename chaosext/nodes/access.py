"""How nodes are entered: the transports, and what it takes to come back to a node later."""

from __future__ import annotations

from dataclasses import dataclass

DOCKER, NETNS, POD = "docker", "netns", "pod"
DEFAULT = DOCKER

NAMESPACE = "chaosext"
"""The namespace of chaosext's own Pods (sentinels, and those of transport `pod`), unless another is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAccess:
    """How nodes are entered: all that is needed to come back to them later, from another process.

    What follows the transport is for `pod` alone: the context of the API server that is asked, and the Pods in which
    one arrives, by their namespace, image, run and owner. `with_bird`: they are to see BIRD's socket. `start_s`: what a
    Pod may take to run. `only`: the nodes that can be entered now, the others being cut off; None: all of them.
    `closed`: why none can be, "" where some can. `on_nodes`: cuts are on the nodes' side, so one may have left
    something on any of them.
    """

    transport: str = DEFAULT
    context: str = ""
    namespace: str = ""
    image: str = ""
    run: str = ""
    owner: str = ""
    with_bird: bool = False
    start_s: float = 60.0
    only: frozenset[str] | None = None
    closed: str = ""
    on_nodes: bool = False

    @property
    def asks_the_api_server(self) -> bool:
        return self.transport == POD


BY_DOCKER = NodeAccess()
