"""From settings to what an activity talks to: the cluster, a shell on each node, the leaf."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from chaosext.cluster.bounds import bound_api_calls
from chaosext.cluster.client import Cluster
from chaosext.model.errors import Refused, Unreachable
from chaosext.nodes.transport import shells
from chaosext.safety.pin import Pin, read_pins, verify, write_pin
from chaosext.steady.suite import Surroundings

if TYPE_CHECKING:
    from chaosext.run.reading.settings import Settings


@cache
def connect(settings: Settings) -> Cluster:
    """The pinned cluster; from here on chaostoolkit-kubernetes' calls are bounded as ours are.

    Raises `Refused` for an unknown context, a wrong pin or a server that doesn't answer.
    """
    bound_api_calls(settings.request_timeout_s)
    cluster = Cluster.connect(settings.context, request_timeout_s=settings.request_timeout_s)
    require_pin(cluster)
    return cluster


def observed_pin(cluster: Cluster) -> Pin:
    """What names this cluster: context, server, certificate authority, and kube-system's UID."""
    return Pin(
        context=cluster.context,
        server=cluster.server,
        ca_sha256=cluster.ca_sha256,
        kube_system_uid=cluster.namespace_uid("kube-system"),
    )


def pin_context(context: str, *, kube_system_uid: str, ca_sha256: str) -> Pin:
    """Write down which cluster `context` leads to: from here on no other may answer to that name.

    Raises `Refused` when it isn't the one with that UID of kube-system and that certificate authority.
    """
    pin = observed_pin(Cluster.connect(context))
    if (pin.kube_system_uid, pin.ca_sha256) != (kube_system_uid, ca_sha256):
        raise Refused(
            f"context {context} of the kubeconfig leads to another cluster, at {pin.server}",
            f"remove or rename it (`kubectl config delete-context {context}`), or use another --name",
        )
    write_pin(pin)
    return pin


def require_pin(cluster: Cluster) -> None:
    """Raises `Refused` when the cluster behind the context is not the one that was pinned, or doesn't answer."""
    try:
        observed = observed_pin(cluster)
    except Unreachable as error:
        raise Refused(
            error.message, "check that the cluster is up: `kubectl --context … get nodes`"
        ) from None
    pinned = read_pins().get(cluster.context)
    if pinned is not None:
        verify(pinned, observed)


def surroundings(settings: Settings) -> Surroundings:
    """What the checks look at."""
    cluster = connect(settings)
    return Surroundings(
        cluster=cluster,
        shells=shells((node.name for node in cluster.nodes()), settings.transport),
        leaf=shells([settings.leaf_container], settings.transport)[settings.leaf_container],
        namespaces=settings.namespaces,
        dns_lookups=settings.lookups,
    )
