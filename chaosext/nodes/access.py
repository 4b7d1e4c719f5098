"""How nodes are entered: the transports, and what is needed to enter a node again later."""

from __future__ import annotations

from dataclasses import dataclass

DOCKER, NETNS, POD = "docker", "netns", "pod"
DEFAULT = DOCKER

NAMESPACE = "chaosext"
"""Namespace of chaosext's own Pods (sentinels, and those of transport `pod`), unless another one is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAccess:
    """How nodes are entered, with everything that another process needs to enter them again later.

    The fields after `transport` are for `pod` only: the context of the API server, and the namespace, image,
    run and owner of the Pods on the nodes. `with_bird`: the Pods mount BIRD's socket. `start_s`: seconds that
    a Pod may take to start. `only`: the nodes that can be entered now, because the others are cut off; None:
    all. `closed`: why no node can be entered; "" otherwise. `on_nodes`: cuts are on the nodes' side, so any
    node may have leftovers.
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
