"""The ways into a node, by the name that a setting, an intent or a command line gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model import child_process
from chaosext.model.child_process import TimeIsUp
from chaosext.model.errors import Refused, TooLarge
from chaosext.model.resource_names import require_name
from chaosext.nodes.access import BY_DOCKER, DOCKER, NETNS, POD, NodeAccess
from chaosext.nodes.process_shell import DockerShell, NetnsShell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from chaosext.nodes.shell import NodeShell

KIND_LABEL = "io.x-k8s.kind.cluster"
"""What kind labels its nodes' containers with (kind's pkg/cluster/internal/providers/docker, clusterLabelKey)."""

KIND_ROLE_LABEL, KIND_ROLES = "io.x-k8s.kind.role", ("control-plane", "worker")
"""What the nodes are by their label (nodeRoleLabelKey); the load balancer before several API servers is none."""

DISCOVERY_S = 10.0


def shells(names: Iterable[str], way: NodeAccess = BY_DOCKER) -> Mapping[str, NodeShell]:
    """A shell on every node named, sorted. Raises `Refused` for a transport that there is not, and for a bad name."""
    if way.transport not in TRANSPORTS:
        raise Refused(f"transport: unknown value {way.transport!r}", f"use one of: {', '.join(TRANSPORTS)}")
    return {name: TRANSPORTS[way.transport](require_name(name), way) for name in sorted(set(names))}


def _pod_shell(node: str, way: NodeAccess) -> NodeShell:
    from chaosext.nodes.pod_shell import PodShell

    return PodShell(node, way)


TRANSPORTS: dict[str, Callable[[str, NodeAccess], NodeShell]] = {
    DOCKER: lambda node, _: DockerShell(node),
    NETNS: lambda node, _: NetnsShell(node),
    POD: _pod_shell,
}
"""Name -> what makes a shell of a node's name. docker: a kind node is a container with the node's name; netns: a
network namespace with that name plays the node; pod: a Pod of ours in the node's own network is entered by exec."""


def way_of(on: Mapping[str, NodeShell]) -> NodeAccess:
    """The way of these shells, as far as they tell."""
    return next(
        (way for shell in on.values() if isinstance(way := getattr(shell, "way", None), NodeAccess)),
        BY_DOCKER,
    )


def end_all() -> None:
    """End at once what runs on nodes for us: what waits for it hears that it was `Unreachable`, or ended early."""
    from chaosext.cluster import execute

    child_process.end_all()
    execute.end_all()


def discover(way: NodeAccess = BY_DOCKER, cluster: str | None = None) -> tuple[str, ...]:
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
        raise Refused(f"docker can't list kind's nodes ({said})", "list them with --node") from None
    if done.exit_code:
        raise Refused(f"docker: {done.stderr.strip()}", "start the Docker Engine, or list nodes with --node")
    listed = (line.partition(" ") for line in done.stdout.splitlines())
    return tuple(sorted(name for name, _, role in listed if role in KIND_ROLES))
