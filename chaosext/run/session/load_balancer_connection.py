"""From settings to the global load balancer that an activity talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.nodes.load_balancer import EnvoyEntry
from chaosext.nodes.process_shell import DockerShell
from chaosext.safety.pins import read_pins

if TYPE_CHECKING:
    from chaosext.experiment.settings import Settings
    from chaosext.model.load_balancer_state import Member
    from chaosext.nodes.load_balancer import LoadBalancer


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
        known = ", ".join(each.cluster for each in members)
        raise Refused(
            f"cluster {cluster!r} is not behind the load balancer {entry.name}", f"use one of: {known}"
        )
    return found
