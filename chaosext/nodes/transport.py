"""The ways into a node, by the name that a setting, an intent or a command line gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model import child_process
from chaosext.model.child_process import TimeIsUp
from chaosext.model.errors import Refused, TooLarge
from chaosext.model.names import require_name
from chaosext.nodes.docker import DockerShell
from chaosext.nodes.netns import NetnsShell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from chaosext.nodes.shell import NodeShell

DOCKER, NETNS, POD = "docker", "netns", "pod"
DEFAULT = DOCKER

NAMESPACE = "chaosext"
"""The namespace of chaosext's own Pods (sentinels, and those of transport `pod`), unless another is named."""

KIND_LABEL = "io.x-k8s.kind.cluster"
"""What kind labels its nodes' containers with (kind's pkg/cluster/internal/providers/docker, clusterLabelKey)."""

KIND_ROLE_LABEL, KIND_ROLES = "io.x-k8s.kind.role", ("control-plane", "worker")
"""What the nodes are by their label (nodeRoleLabelKey); the load balancer before several API servers is none."""

DISCOVERY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
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


BY_DOCKER = Way()


def shells(names: Iterable[str], way: Way = BY_DOCKER) -> Mapping[str, NodeShell]:
    """A shell on every node named, sorted. Raises `Refused` for a transport that there is not, and for a bad name."""
    if way.transport not in TRANSPORTS:
        raise Refused(f"transport: {way.transport!r} is not known", f"known are {', '.join(TRANSPORTS)}")
    return {name: TRANSPORTS[way.transport](require_name(name), way) for name in sorted(set(names))}


def _pod_shell(node: str, way: Way) -> NodeShell:
    from chaosext.nodes.pod import PodShell

    return PodShell(node, way)


TRANSPORTS: dict[str, Callable[[str, Way], NodeShell]] = {
    DOCKER: lambda node, _: DockerShell(node),
    NETNS: lambda node, _: NetnsShell(node),
    POD: _pod_shell,
}
"""Name -> what makes a shell of a node's name. docker: a kind node is a container with the node's name; netns: a
network namespace with that name plays the node; pod: a Pod of ours in the node's own network is entered by exec."""


def way_of(on: Mapping[str, NodeShell]) -> Way:
    """The way of these shells, as far as they tell."""
    return next(
        (way for shell in on.values() if isinstance(way := getattr(shell, "way", None), Way)), BY_DOCKER
    )


def end_all() -> None:
    """End at once what runs on nodes for us: what waits for it hears that it was `Unreachable`, or ended early."""
    from chaosext.cluster import execute

    child_process.end_all()
    execute.end_all()


def discover(way: Way = BY_DOCKER, cluster: str | None = None) -> tuple[str, ...]:
    """The nodes that can be found without asking any cluster: of kind's `cluster`, or of all of them.

    Stopped ones too. Network namespaces have no mark that would tell nodes from others, so none is found.
    Raises `Refused` where docker is not here or does not answer.
    """
    if way.transport != DOCKER:
        return ()
    label = f"label={KIND_LABEL}={cluster}" if cluster else f"label={KIND_LABEL}"
    shown = f'{{{{.Names}}}} {{{{.Label "{KIND_ROLE_LABEL}"}}}}'
    argv = ["docker", "ps", "--all", "--filter", label, "--format", shown]
    try:
        done = child_process.run(argv, timeout_s=DISCOVERY_S)
    except (OSError, TimeIsUp, TooLarge) as error:
        said = str(error) or f"no answer within {DISCOVERY_S:g} s"
        raise Refused(f"docker can't be asked for kind's nodes ({said})", "name them with --node") from None
    if done.exit_code:
        raise Refused(f"docker: {done.stderr.strip()}", "start the Docker Engine, or name nodes with --node")
    listed = (line.partition(" ") for line in done.stdout.splitlines())
    return tuple(sorted(name for name, _, role in listed if role in KIND_ROLES))
