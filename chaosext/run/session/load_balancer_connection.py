"""From settings to the entry that an activity talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.nodes.load_balancer import EnvoyEntry
from chaosext.nodes.process_shell import DockerShell
from chaosext.safety.pins import read_pins

if TYPE_CHECKING:
    from chaosext.experiment.settings import Settings
    from chaosext.model.failover import Member
    from chaosext.nodes.load_balancer import Entry


def entry_of(settings: Settings) -> Entry | None:
    """The entry that the settings name; None where they name none."""
    return entry_in(settings.entry_container, settings.customers_container) if settings.entry else None


def entry_in(container: str, customers: str = "") -> Entry:
    """The entry in a container, and its customers in another."""
    customers = customers or f"{container.removesuffix('-entry')}-customers"
    return EnvoyEntry(envoy=DockerShell(container), customers=DockerShell(customers))


def require_entry(settings: Settings) -> Entry:
    """The entry. Raises `Refused` where the settings name none."""
    entry = entry_of(settings)
    if entry is None:
        raise Refused(
            "configuration.chaosext_entry is not set, so there is no entry in front of several clusters",
            "name its container, or `auto` on a testbed that is up with --clusters 2",
        )
    return entry


def require_entry_to_act(settings: Settings) -> Entry:
    """The entry, for whoever changes it. Raises `Refused` where the context is not pinned, too.

    No API server is asked: a drain is what helps while one doesn't answer.
    """
    if settings.context not in read_pins():
        raise Refused(
            f"context {settings.context} is not pinned, so nothing says which cluster is meant",
            f"look at it, then `chaosext pin --context {settings.context}`",
        )
    return require_entry(settings)


def require_member(entry: Entry, cluster: str) -> Member:
    """The cluster as the entry deems it now. Raises `Refused` for one that is not behind the entry."""
    members = entry.look()
    found = next((each for each in members if each.cluster == cluster), None)
    if found is None:
        known = ", ".join(each.cluster for each in members)
        raise Refused(f"cluster {cluster!r} is not behind the entry {entry.name}", f"behind it are: {known}")
    return found
