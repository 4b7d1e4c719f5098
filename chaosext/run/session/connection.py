"""From settings to the cluster of an activity, and its pin."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING

from chaosext.cluster.answer_bounds import bound_api_calls
from chaosext.cluster.client import ENVIRONMENT, Cluster
from chaosext.model.errors import Refused, Unreachable, did_you_mean
from chaosext.nodes.load_balancer import EnvoyEntry
from chaosext.nodes.process_shell import DockerShell
from chaosext.run.session.run_context import owner
from chaosext.safety.approvals import PRODUCTION
from chaosext.safety.audit_log import AuditEvent, Deed, audit_log
from chaosext.safety.pins import Pin, read_pins, verify, write_pin

if TYPE_CHECKING:
    from chaosext.experiment.settings import Settings
    from chaosext.model.load_balancer_state import Member
    from chaosext.nodes.load_balancer import LoadBalancer


@cache
def connect(settings: Settings) -> Cluster:
    """The cluster, for reading; from here on chaostoolkit-kubernetes' calls are bounded as ours are.

    Raises `Refused` for an unknown context, another cluster's pin or a server that doesn't answer.
    """
    bound_api_calls(settings.request_timeout_s)
    cluster = _connect(settings)
    observed, pinned = observed_pin(cluster), read_pins().get(settings.context)
    if pinned is not None:
        verify(pinned, observed)
    return cluster


def forget_connections() -> None:
    """Connect anew at the next `connect`: a context of the same name may lead to another cluster by now."""
    connect.cache_clear()


def connect_to_act(settings: Settings) -> Cluster:
    """The pinned cluster, verified again: every change asks for it at the moment of acting.

    Raises `Refused` for a context that is not pinned, or that leads to another cluster than the pinned one.
    """
    bound_api_calls(settings.request_timeout_s)
    pinned = require_pinned(settings.context)
    cluster = _connect(settings)
    verify(pinned, observed_pin(cluster))
    return cluster


def require_pinned(context: str) -> Pin:
    """The pin of a context, which identifies its cluster. Needs no server. Raises `Refused` without one."""
    pinned = read_pins().get(context)
    if pinned is None:
        raise Refused(
            f"context {context} is not pinned to a cluster",
            f"check that it leads to the right cluster, then run `chaosext pin --context {context}`",
        )
    return pinned


def _connect(settings: Settings) -> Cluster:
    return Cluster.connect(settings.context, request_timeout_s=settings.request_timeout_s)


def observed_pin(cluster: Cluster) -> Pin:
    """What identifies this cluster: context, server, certificate authority, and kube-system's UID.

    Raises `Refused` if it doesn't answer.
    """
    try:
        uid = cluster.namespace_uid("kube-system")
    except Unreachable as error:
        fix = f"check that the cluster is up: `kubectl --context {cluster.context} get nodes`"
        raise Refused(error.message, fix) from None
    return Pin(
        context=cluster.context, server=cluster.server, ca_sha256=cluster.ca_sha256, kube_system_uid=uid
    )


def pin_context(context: str, *, replace: bool = False, production: bool | None = None) -> tuple[Pin, bool]:
    """Pin `context` to the cluster it leads to; returns whether that is new. From here on it must not lead elsewhere.

    `production` sets or removes that mark; None keeps it. Raises `Refused` if it was pinned to another cluster, unless
    `replace` is set, or doesn't answer.
    """
    pin, pinned = observed_pin(Cluster.connect(context)), read_pins().get(context)
    if pinned is not None and not replace:
        verify(pinned, pin)
    marked = production if production is not None else pinned is not None and pinned.production
    pin = dataclasses.replace(pin, production=marked)
    if pin == pinned:
        return pin, False
    _pin(pin)
    return pin, True


def pin_made(context: str, *, kube_system_uid: str, ca_sha256: str) -> Pin:
    """Pin the cluster that was just created, whatever was pinned before.

    Raises `Refused` if `context` leads to one with another UID of kube-system or certificate authority.
    """
    pin = observed_pin(Cluster.connect(context))
    if (pin.kube_system_uid, pin.ca_sha256) != (kube_system_uid, ca_sha256):
        raise Refused(
            f"context {context} of the kubeconfig leads to another cluster, at {pin.server}",
            f"remove or rename it (`kubectl config delete-context {context}`), or use another --name",
        )
    _pin(pin)
    return pin


def _pin(pin: Pin) -> None:
    """Raises `Refused` if that can't be written to the audit log."""
    deed = Deed(event=AuditEvent.PINNED, owner=owner(), context=pin.context, cluster_uid=pin.kube_system_uid)
    audit_log().append(deed)
    write_pin(pin)


def why_production(cluster: Cluster) -> str:
    """Why a cluster counts as production: by its pin, or by its own label or annotation; "": it does not.

    The cluster's own mark is `chaosext/environment: production` on the namespace kube-system, which every runner sees.
    """
    pinned = read_pins().get(cluster.context)
    if pinned is not None and pinned.production:
        return f"context {cluster.context} is pinned as production"
    if cluster.environment().lower() == PRODUCTION:
        return f"the cluster of context {cluster.context} is marked {ENVIRONMENT}={PRODUCTION}"
    return ""


def entry_of(settings: Settings) -> LoadBalancer | None:
    """The load balancer that the settings name; None if they name none."""
    return entry_in(settings.entry_container, settings.customers_container) if settings.entry else None


def entry_in(container: str, customers: str = "") -> LoadBalancer:
    """The load balancer in a container, and its customers in another."""
    customers = customers or f"{container.removesuffix('-entry')}-customers"
    return EnvoyEntry(envoy=DockerShell(container), customers=DockerShell(customers))


def require_entry(settings: Settings) -> LoadBalancer:
    """The load balancer. Raises `Refused` if the settings name none."""
    entry = entry_of(settings)
    if entry is None:
        raise Refused(
            "configuration.chaosext_entry is not set, so no global load balancer is known",
            "set it to the container's name, or to `auto` on a testbed created with --clusters 2",
        )
    return entry


def require_entry_to_act(settings: Settings) -> LoadBalancer:
    """The load balancer, for a change. Raises `Refused` also if the context is not pinned.

    Needs no API server: a drain is what helps while one doesn't answer.
    """
    if settings.context not in read_pins():
        raise Refused(
            f"context {settings.context} is not pinned to a cluster",
            f"check that it leads to the right cluster, then run `chaosext pin --context {settings.context}`",
        )
    return require_entry(settings)


def require_member(entry: LoadBalancer, cluster: str) -> Member:
    """The cluster's state at the load balancer. Raises `Refused` for one that is not behind it."""
    members = entry.look()
    found = next((each for each in members if each.cluster == cluster), None)
    if found is None:
        hint = did_you_mean(cluster, [each.cluster for each in members])
        raise Refused(f"cluster {cluster!r} is not behind the load balancer {entry.name}", hint)
    return found
