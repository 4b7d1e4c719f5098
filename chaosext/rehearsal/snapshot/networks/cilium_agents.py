"""What Cilium's agents do without the API server, and after it: by their version and their liveness probe.

Before 1.18 the probe fails without the API server, so that agents, and with them their BGP sessions, end after about
5 min (cilium #38458). From 1.18 to 1.19.2 an agent that reconnects may keep endpoints that were removed meanwhile
(cilium #48050, repaired by #45198): seen on 12 of 15 nodes of a cluster.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from chaosext.rehearsal.snapshot.world import Alternative, Plugin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from chaosext.rehearsal.snapshot.networks.signs import Values

AGENT, CONTAINER = "cilium", "cilium-agent"
"""Names of the agents' DaemonSet and of their container."""

NEEDS_API = "require-k8s-connectivity"
"""Header of the liveness probe: whether an agent is unhealthy without the API server."""

KEEPS_SINCE, KEEPS_UNTIL = (1, 18, 0), (1, 19, 3)
"""Versions of agents that may keep removed endpoints, the latter excluded."""

_VERSION = re.compile(r":v?(\d+)\.(\d+)\.(\d+)")


class AgentShown(NamedTuple):
    """What a template of agents shows: whether they outlast the API server, and their version; () if unknown."""

    outlasts: bool
    version: tuple[int, ...]


def agent_shown(containers: Sequence[Values]) -> AgentShown:
    """Return what the containers of an agent's Pod show."""
    return AgentShown(any(map(_outlasts, containers)), next(filter(None, map(_version, containers)), ()))


def agent_alternatives(plugin: Plugin, agents: Collection[AgentShown]) -> Iterator[Alternative]:
    """Yield what agents like these may do otherwise."""
    if plugin is Plugin.CILIUM_BGP and not (agents and all(each.outlasts for each in agents)):
        yield AGENTS_END
    if any(_may_keep(each.version) for each in agents):
        yield KEEPS_BACKENDS


def _may_keep(version: tuple[int, ...]) -> bool:
    """Whether agents of this version may keep removed endpoints; those of an unknown one may."""
    return not version or KEEPS_SINCE <= version < KEEPS_UNTIL


def kept_of_agent(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is read of an agent's container: one header of its liveness probe, and its version."""
    found: dict[str, Any] = {}
    if _outlasts(container):
        found["livenessProbe"] = {"httpGet": {"httpHeaders": [{"name": NEEDS_API, "value": "false"}]}}
    if version := _version(container):
        found["image"] = f"{AGENT}:v{'.'.join(map(str, version))}"
    return found


def _outlasts(container: Values) -> bool:
    get = (container.get("livenessProbe") or {}).get("httpGet") or {}
    headers = get.get("httpHeaders") or ()
    return any(
        each.get("name") == NEEDS_API and str(each.get("value")).lower() == "false" for each in headers
    )


def _version(container: Values) -> tuple[int, ...]:
    """Return the version in the image's tag; () for another container, or without one."""
    match = _VERSION.search(str(container.get("image") or "")) if container.get("name") == CONTAINER else None
    return tuple(map(int, match.groups())) if match else ()


AGENTS_END = Alternative(
    name="Cilium's agents",
    assumed="Cilium's agents, and with them their BGP sessions, outlast the cut, as they do by default since 1.18",
    settles=(
        f"have the agents' Pods in the snapshot, with the header `{NEEDS_API}: false` in their liveness probe, or say "
        "with --fabric-hears which nodes' Pods stay reachable"
    ),
    apply=lambda world: replace(world, network=replace(world.network, agents_end=True)),
)

KEEPS_BACKENDS = Alternative(
    name="Cilium's endpoints",
    assumed="Cilium's agents remove old endpoints of Services once they are connected again",
    settles=(
        "have the agents' Pods in the snapshot, with the version in their image's tag; from 1.18 to 1.19.2 they may "
        "keep them (cilium #48050): upgrade to 1.19.3 or newer"
    ),
    apply=lambda world: replace(world, network=replace(world.network, keeps_backends=True)),
)
