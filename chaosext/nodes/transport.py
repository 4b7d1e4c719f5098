"""The transports by the name used in settings, intents and on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model import child_process
from chaosext.model.child_process import TimeIsUp
from chaosext.model.errors import Refused, TooLarge, did_you_mean
from chaosext.model.names import require_name
from chaosext.nodes.process_shell import DockerShell, NetnsShell
from chaosext.nodes.shell import BY_DOCKER, DOCKER, NETNS, POD, NodeAccess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from chaosext.nodes.shell import NodeShell

KIND_LABEL = "io.x-k8s.kind.cluster"
"""Label of the containers of kind nodes (kind's pkg/cluster/internal/providers/docker, clusterLabelKey)."""

KIND_ROLE_LABEL, KIND_ROLES = "io.x-k8s.kind.role", ("control-plane", "worker")
"""kind's role label (nodeRoleLabelKey), and its values for nodes. A load balancer for the API servers has
another role."""

DISCOVERY_S = 10.0


def shells(names: Iterable[str], way: NodeAccess = BY_DOCKER) -> Mapping[str, NodeShell]:
    """Return a shell for each node, sorted. Raises `Refused` for an unknown transport or an invalid name."""
    if way.transport not in TRANSPORTS:
        raise Refused(f"transport: unknown value {way.transport!r}", did_you_mean(way.transport, TRANSPORTS))
    return {name: TRANSPORTS[way.transport](require_name(name), way) for name in sorted(set(names))}


def _pod_shell(node: str, way: NodeAccess) -> NodeShell:
    from chaosext.nodes.pod_shell import PodShell

    return PodShell(node, way)


TRANSPORTS: dict[str, Callable[[str, NodeAccess], NodeShell]] = {
    DOCKER: lambda node, _: DockerShell(node),
    NETNS: lambda node, _: NetnsShell(node),
    POD: _pod_shell,
}
"""Transport -> constructor of a node's shell. docker: a kind node is a container with the node's name; netns:
a network namespace of that name acts as the node; pod: exec into a chaosext Pod in the node's own network."""


def way_of(on: Mapping[str, NodeShell]) -> NodeAccess:
    """Return how these shells enter their nodes, as far as they say."""
    return next(
        (way for shell in on.values() if isinstance(way := getattr(shell, "way", None), NodeAccess)),
        BY_DOCKER,
    )


def end_all() -> None:
    """End all scripts that this process runs on nodes. Their callers get `Unreachable`, or see an early end."""
    from chaosext.cluster import execute

    child_process.end_all()
    execute.end_all()


def discover(way: NodeAccess = BY_DOCKER, cluster: str | None = None) -> tuple[str, ...]:
    """List the nodes that can be found without a cluster: those of kind's `cluster`, or of all kind clusters.

    Includes stopped ones. Finds no network namespaces, because nothing marks those that act as nodes. Raises
    `Refused` if docker is missing or does not answer.
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
